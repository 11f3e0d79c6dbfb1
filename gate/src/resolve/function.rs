//! Lambda: the two versions behind an alias, each invoked by its number.

use policies::deployment::Route;
use policies::{Blame, Deployment, Target, Trouble};

use super::{Measured, Resolver, lasting};
use crate::aws::codedeploy::FunctionTarget;
use crate::aws::{Aws, Failure};

/// Fills in the versions: green is the one deployed to, blue the one deployed from.
pub(super) async fn arms(
    resolver: &Resolver,
    aws: &dyn Aws,
    (target, began_unix_seconds): (&FunctionTarget, Option<i64>),
    deployment: &mut Deployment,
) -> Result<(), Trouble> {
    let name = short_name(&target.function);
    deployment.function.clone_from(&name);
    let Some(green) = &target.target_version else {
        let what = format!("function {name} has no version to deploy to");
        return Err(lasting(Blame::Aws, what));
    };
    deployment.green = vec![version(&name, &target.function, green)];
    let blue = target.current_version.as_ref().filter(|blue| *blue != green);
    deployment.blue = blue.map(|blue| version(&name, &target.function, blue)).into_iter().collect();
    // Weights are shown and say whether real traffic can be measured; nothing is judged by them alone.
    match aws.alias(&target.function, &target.alias).await {
        Ok(alias) => {
            let extra = alias.weights.iter().find(|(version, _)| version == green);
            let all = (alias.version == *green)
                .then(|| 1.0 - alias.weights.iter().map(|(_, share)| share).sum::<f64>());
            let share = extra.map(|(_, share)| *share).or(all).unwrap_or(0.0);
            deployment.green_weight = Some(share * 100.0);
        }
        Err(error) if error.failure == Failure::Denied => {
            deployment.warnings.push(format!("traffic weights are not known: {}", error.story()));
        }
        // The next look will tell.
        Err(_passing) => {}
    }
    resolver.dimensions.set(Measured {
        function: Some((name, target.alias.clone(), green.clone())),
        began_unix_seconds,
        ..Measured::default()
    });
    Ok(())
}

/// A version as a target: what is invoked stands where a host does.
fn version(name: &str, function: &str, version: &str) -> Target {
    Target {
        id: format!("{name}:{version}"),
        host: format!("{function}:{version}"),
        port: 0,
        tls: true,
        route: Route::Function,
        health: None,
    }
}

/// The name of a function that may be given by its ARN.
fn short_name(function: &str) -> String {
    function.split_once(":function:").map_or(function, |(_, name)| name).to_owned()
}
