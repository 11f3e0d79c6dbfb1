//! What the truth server saw, as its process writes it and the driver reads it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::Mode;
use crate::figures::quantile;

/// Every answered request, in the order of the answers.
#[derive(Debug, Default)]
pub struct Records {
    /// Arrival and residence, nanoseconds.
    answered: Vec<(u64, u64)>,
    arrived: u64,
    stamped_by_kernel: u64,
}

impl Records {
    /// Counts a request.
    pub fn arrived(&mut self, by_kernel: bool) {
        self.arrived += 1;
        self.stamped_by_kernel += u64::from(by_kernel);
    }

    /// Keeps an answer.
    pub fn answered(&mut self, arrived: u64, now: u64) {
        self.answered.push((arrived, now.saturating_sub(arrived)));
    }

    /// Writes everything.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let pairs = self.answered.iter().flat_map(|&(arrival, residence)| [arrival, residence]);
        let numbers = [self.arrived, self.stamped_by_kernel].into_iter().chain(pairs);
        let bytes: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
        to.write_all(&bytes)?;
        to.flush()
    }

    /// Reads what [`Self::write`] wrote.
    fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        let (numbers, _) = bytes.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let mut next = || numbers.next().ok_or(io::Error::from(io::ErrorKind::UnexpectedEof));
        let mut records =
            Self { arrived: next()?, stamped_by_kernel: next()?, answered: Vec::new() };
        while let (Ok(arrival), Ok(residence)) = (next(), next()) {
            records.answered.push((arrival, residence));
        }
        Ok(records)
    }

    /// Requests that arrived whole.
    pub fn count(&self) -> u64 {
        self.arrived
    }

    /// Whether the kernel stamped all of them.
    pub fn by_kernel(&self) -> bool {
        self.stamped_by_kernel == self.arrived
    }

    /// Arrivals, ascending.
    pub fn arrivals(&self) -> Vec<u64> {
        let mut arrivals: Vec<u64> = self.answered.iter().map(|(arrival, _)| *arrival).collect();
        arrivals.sort_unstable();
        arrivals
    }

    /// Seconds that requests were in the server, at these quantiles.
    pub fn residence<const N: usize>(&self, quantiles: [f64; N]) -> [Option<f64>; N] {
        let seconds = self.answered.iter().map(|(_, residence)| *residence as f64 / 1e9);
        let mut seconds: Vec<f64> = seconds.collect();
        seconds.sort_by(f64::total_cmp);
        quantiles.map(|asked| quantile(&seconds, asked))
    }
}

/// A running truth server. It ends with its handle.
#[derive(Debug)]
pub struct Truth {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// `127.0.0.1:port`.
    pub address: String,
}

impl Truth {
    /// Starts one on the core of this process.
    pub fn start(mode: Mode) -> Result<Self, String> {
        let error = |error: io::Error| format!("cannot start the truth server: {error}");
        let mut process = Command::new(std::env::current_exe().map_err(error)?)
            .args(["truth", mode.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(error)?;
        let input = process.stdin.take();
        let Some(output) = process.stdout.take() else { return Err("it has no output".to_owned()) };
        let mut output = BufReader::new(output);
        let mut address = String::new();
        output.read_line(&mut address).map_err(error)?;
        let address = address.trim().to_owned();
        Ok(Self { process, input, output, address })
    }

    /// Ends it and takes its records.
    pub fn end(mut self) -> Result<Records, String> {
        drop(self.input.take());
        let records = Records::read(&mut self.output);
        records.map_err(|error| format!("the truth server left no records: {error}"))
    }
}

impl Drop for Truth {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let mut records = Records::default();
        for (arrival, answer) in [(2_000, 9_000), (1_000, 11_000)] {
            records.arrived(true);
            records.answered(arrival, answer);
        }
        // Still waiting when the server ended.
        records.arrived(true);
        let mut written = Vec::new();
        records.write(&mut written).unwrap();
        let read = Records::read(&mut written.as_slice()).unwrap();
        assert_eq!((read.count(), read.by_kernel()), (3, true));
        assert_eq!(read.arrivals(), [1_000, 2_000]);
        assert_eq!(read.residence([0.5, 1.0]), [Some(7e-6), Some(10e-6)]);
        assert!(Records::read(&mut &written[..9]).is_err());
    }
}
