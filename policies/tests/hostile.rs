//! Documents written to hurt: each is refused with one short fault, whatever it holds.
//!
//! A refusal that took minutes or gigabytes would show as a test run that does not end.

#![allow(
    clippy::panic,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

use policies::PolicyFile;
use policies::document::{FaultCode, render};

/// `what` is refused before anything of it is checked.
fn check(what: &str, text: &str) {
    let file = PolicyFile::parse("hostile.yaml", text);
    assert!(file.policy.is_none() && file.applies_to.is_none(), "{what}");
    let [fault] = file.faults.as_slice() else { panic!("{what}: {} faults", file.faults.len()) };
    assert_eq!(fault.code, FaultCode::G0001, "{what}: {fault:?}");
    assert!(fault.message.len() <= 300, "{what}: a message of {} bytes", fault.message.len());
    assert!(!fault.message.contains(char::is_control), "{what}: {:?}", fault.message);
    let rendered = render(&file.faults, &file.text, false);
    assert!(rendered.len() <= 4000, "{what}: {} bytes to show it", rendered.len());
}

/// Nine lists, each of nine times the one before: a billion items in 600 bytes.
fn bomb() -> String {
    let levels = (0..9).map(|i| {
        let item = if i == 0 { "lol".to_owned() } else { format!("*a{}", i - 1) };
        format!("a{i}: &a{i} [{}]\n", vec![item; 9].join(", "))
    });
    levels.collect()
}

#[test]
fn what_is_too_large_is_refused_by_its_size() {
    check("a file of 10 MB", &"gate: v1\n".repeat(10_000_000 / 9));
    check("a scalar of 10 MB", &format!("gate: {}", "x".repeat(10_000_000)));
    check("a list of a million items", &format!("gate: [{}]", "1,".repeat(1_000_000)));
    check("a million lines of nothing", &"\n".repeat(1_000_000));
}

#[test]
fn what_grows_is_refused_before_it_has_grown() {
    check("an alias bomb", &bomb());
    check("a list that holds itself", "&a [*a]");
    check("a map that holds itself", "&a { b: *a }");
    check("a thousand aliases", &format!("a: &a x\nb: [{}]", "*a, ".repeat(1000)));
    check("a thousand anchors", &(0..1000).map(|i| format!("a{i}: &a{i} x\n")).collect::<String>());
    check("100,000 items in 200 kB", &format!("gate: [{}]", "1,".repeat(100_000)));
    check("20,000 keys", &(0..20_000).map(|i| format!("k{i}: 1\n")).collect::<String>());
    check("documents without end", &"--- 1\n".repeat(40_000));
}

#[test]
fn what_is_deep_is_refused_before_the_stack_ends() {
    check("10,000 lists in each other", &"[".repeat(10_000));
    check("10,000 maps in each other", &"{a: ".repeat(10_000));
    check("10,000 closed lists", &format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)));
    check("250,000 lists in each other", &"[".repeat(250_000));
    check("10,000 items of items", &"- ".repeat(10_000));
    check("10,000 keys that are maps", &"? ".repeat(10_000));
    let indented: String = (0..600).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    check("600 levels of indentation", &indented);
}

#[test]
fn what_is_no_text_is_refused() {
    check("zeros", "\0\0\0\0");
    check("a program", "\u{7f}ELF\u{2}\u{1}\u{1}\0\0\0");
    check("control characters", &(1..32).map(char::from).collect::<String>());
    check("bytes of every value", &String::from_utf8_lossy(&(1..=255).collect::<Vec<u8>>()));
    check("a torn escape", "gate: \"\\x");
    check("an endless quote", &format!("gate: \"{}", "x".repeat(200_000)));
    check("an endless key", &format!("? {}", "[x, ".repeat(20_000)));
    check("an unknown alias of 200 kB", &format!("gate: *{}", "x".repeat(200_000)));
    check("a key of 100 kB said twice", &format!("{0}: 1\n{0}: 2\n", "x".repeat(100_000)));
    check("a key of 300 umlauts said twice", &format!("{0}: 1\n{0}: 2\n", "ü".repeat(300)));
    check("a key that clears the screen, twice", "\"\\e[2J\": 1\n\"\\e[2J\": 2\n");
    check("a directive of 200 kB", &format!("%{} 1\n---\n", "x".repeat(200_000)));
}

#[test]
fn of_thousands_of_faults_the_first_are_shown_and_the_rest_counted() {
    let keys: String = (0..4900).map(|i| format!("k{i}: 1, ")).collect();
    let file = PolicyFile::parse("hostile.yaml", &format!("{{ gate: v1, {keys} }}"));
    assert!(file.faults.len() > 4900, "{} faults", file.faults.len());
    let rendered = render(&file.faults, &file.text, false);
    let more = format!("{} more faults are not shown\n\n", file.faults.len() - 50);
    assert!(rendered.ends_with(&more) && rendered.matches("error[").count() == 50, "{rendered}");
}
