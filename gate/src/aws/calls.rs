//! Every call gate makes of AWS, once: what IAM calls it, what it can be scoped to, which quota it counts against,
//! what it is for.
//!
//! Adapters name a call by its entry here, so that a call without an entry does not compile.
//! `docs/permissions.md` is written from this table.

#[cfg(test)]
mod page;

use std::fmt;

use super::budget::Quota;

/// What somebody does with gate, and needs permissions for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// CodeDeploy's hooks and READY waits, on ECS.
    CodeDeployEcs,
    /// CodeDeploy's hooks on Lambda.
    CodeDeployLambda,
    /// Pauses and hooks of deployments that ECS makes by itself.
    EcsNative,
    /// Manual approvals and Lambda actions of CodePipeline.
    Pipeline,
    /// Objectives over CloudWatch metrics and alarms.
    CloudWatch,
    /// Questions that arrive by a queue.
    Queue,
    /// Several gates that share a table.
    Replicas,
    /// Secrets of policies and settings.
    Secrets,
    /// Telling people of decisions.
    Notify,
    /// Questions of other accounts.
    OtherAccounts,
    /// The relay.
    Relay,
    /// `gate wait`.
    Wait,
    /// `gate doctor`: reads alone, beside the calls that it tries.
    Doctor,
    /// A sidecar that finds out who it is.
    Sidecar,
    /// A daemon in a task of ECS, which is not to be taken away while questions wait.
    Protection,
}

impl Purpose {
    /// Every purpose, as the documents order them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 15] = [
        Self::CodeDeployEcs,
        Self::CodeDeployLambda,
        Self::EcsNative,
        Self::Pipeline,
        Self::CloudWatch,
        Self::Queue,
        Self::Replicas,
        Self::Secrets,
        Self::Notify,
        Self::OtherAccounts,
        Self::Relay,
        Self::Wait,
        Self::Doctor,
        Self::Sidecar,
        Self::Protection,
    ];

    /// How documents call it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::CodeDeployEcs => "CodeDeploy on ECS",
            Self::CodeDeployLambda => "CodeDeploy on Lambda",
            Self::EcsNative => "ECS blue/green, linear and canary",
            Self::Pipeline => "CodePipeline",
            Self::CloudWatch => "CloudWatch metrics and alarms",
            Self::Queue => "Questions from a queue",
            Self::Replicas => "More than one gate",
            Self::Secrets => "Secrets",
            Self::Notify => "Notifications",
            Self::OtherAccounts => "Other accounts",
            Self::Relay => "The relay",
            Self::Wait => "`gate wait`",
            Self::Doctor => "`gate doctor`",
            Self::Sidecar => "A sidecar",
            Self::Protection => "Task protection",
        }
    }
}

/// What a permission can be scoped to, as the service authorization reference has it.
//= https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// `*` alone.
    Any,
    /// A CodeDeploy deployment group.
    DeploymentGroup,
    /// A CodeDeploy deployment configuration.
    DeploymentConfig,
    /// An ECS service.
    Service,
    /// An ECS service deployment, beside its service.
    ServiceDeployment,
    /// An ECS service with its deployments and revisions.
    //= https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-deployment-permissions.html
    ServiceAndItsDeployments,
    /// Tasks of an ECS cluster.
    Task,
    /// `*`, with the condition `ecs:cluster`.
    Cluster,
    /// A Lambda function and its versions and aliases.
    Function,
    /// A CloudWatch alarm.
    Alarm,
    /// A pipeline.
    PipelineArn,
    /// An action of a pipeline.
    PipelineAction,
    /// An SQS queue.
    QueueArn,
    /// A DynamoDB table.
    TableArn,
    /// A DynamoDB table with its indexes.
    TableAndItsIndexes,
    /// An SNS topic.
    TopicArn,
    /// An SSM parameter.
    Parameter,
    /// A secret of Secrets Manager.
    SecretArn,
    /// A role of another account.
    Role,
}

impl Scope {
    /// The resources to write into a policy; what stands in capitals is to be replaced. Where AWS's pages name
    /// several for one action, all are here: a statement with too few denies.
    pub(crate) const fn resources(self) -> &'static [&'static str] {
        match self {
            Self::Any | Self::Cluster => &["*"],
            Self::DeploymentGroup => {
                &["arn:aws:codedeploy:REGION:ACCOUNT:deploymentgroup:APPLICATION/GROUP"]
            }
            Self::DeploymentConfig => &["arn:aws:codedeploy:REGION:ACCOUNT:deploymentconfig:*"],
            Self::Service => &[SERVICE],
            Self::ServiceDeployment => &[SERVICE, SERVICE_DEPLOYMENT],
            Self::ServiceAndItsDeployments => &[SERVICE, SERVICE_DEPLOYMENT, SERVICE_REVISION],
            Self::Task => &["arn:aws:ecs:REGION:ACCOUNT:task/CLUSTER/*"],
            Self::Function => &[
                "arn:aws:lambda:REGION:ACCOUNT:function:FUNCTION",
                "arn:aws:lambda:REGION:ACCOUNT:function:FUNCTION:*",
            ],
            Self::Alarm => &["arn:aws:cloudwatch:REGION:ACCOUNT:alarm:*"],
            Self::PipelineArn => &["arn:aws:codepipeline:REGION:ACCOUNT:PIPELINE"],
            Self::PipelineAction => &["arn:aws:codepipeline:REGION:ACCOUNT:PIPELINE/STAGE/ACTION"],
            Self::QueueArn => &["arn:aws:sqs:REGION:ACCOUNT:QUEUE"],
            Self::TableArn => &[TABLE],
            Self::TableAndItsIndexes => &[TABLE, TABLE_INDEXES],
            Self::TopicArn => &["arn:aws:sns:REGION:ACCOUNT:TOPIC"],
            Self::Parameter => &["arn:aws:ssm:REGION:ACCOUNT:parameter/PREFIX/*"],
            Self::SecretArn => &["arn:aws:secretsmanager:REGION:ACCOUNT:secret:PREFIX/*"],
            Self::Role => &["arn:aws:iam::OTHER-ACCOUNT:role/ROLE"],
        }
    }
}

const SERVICE: &str = "arn:aws:ecs:REGION:ACCOUNT:service/CLUSTER/SERVICE";
const SERVICE_DEPLOYMENT: &str = "arn:aws:ecs:REGION:ACCOUNT:service-deployment/CLUSTER/SERVICE/*";
const SERVICE_REVISION: &str = "arn:aws:ecs:REGION:ACCOUNT:service-revision/CLUSTER/SERVICE/*";

const TABLE: &str = "arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE";
const TABLE_INDEXES: &str = "arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE/index/*";

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) call: Call,
    /// What IAM calls it.
    pub(crate) action: &'static str,
    pub(crate) scope: Scope,
    pub(crate) purposes: &'static [Purpose],
    /// What gate needs it for.
    pub(crate) what_for: &'static str,
}

macro_rules! calls {
    ($($call:ident = $action:literal on $scope:ident within $quota:ident for [$($purpose:ident),+]: $what_for:literal;)+) => {
        /// A call of AWS that gate makes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Call {
            $(#[doc = $what_for] $call,)+
        }

        impl Call {
            /// AWS's name of the operation.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$call => stringify!($call),)+ }
            }

            /// What IAM calls it.
            pub(crate) const fn action(self) -> &'static str {
                match self { $(Self::$call => $action,)+ }
            }

            /// What it can be scoped to.
            pub(crate) const fn scope(self) -> Scope {
                match self { $(Self::$call => Scope::$scope,)+ }
            }

            /// Whose tokens it takes.
            pub(crate) const fn quota(self) -> Quota {
                match self { $(Self::$call => Quota::$quota,)+ }
            }
        }

        /// Every call gate makes.
        pub(crate) const CALLS: &[Entry] = &[
            $(Entry {
                call: Call::$call,
                action: $action,
                scope: Scope::$scope,
                purposes: &[$(Purpose::$purpose),+],
                what_for: $what_for,
            },)+
        ];
    };
}

calls! {
    GetDeployment = "codedeploy:GetDeployment" on DeploymentGroup within Unpublished
        for [CodeDeployEcs, CodeDeployLambda, Wait]: "application, group, platform, status, and whether it is a rollback";
    ListDeploymentTargets = "codedeploy:ListDeploymentTargets" on Any within Unpublished
        for [CodeDeployEcs, CodeDeployLambda]: "what a deployment is about";
    BatchGetDeploymentTargets = "codedeploy:BatchGetDeploymentTargets" on Any within Unpublished
        for [CodeDeployEcs, CodeDeployLambda]: "stage, task sets, versions and traffic weights";
    GetDeploymentConfig = "codedeploy:GetDeploymentConfig" on DeploymentConfig within Unpublished
        for [CodeDeployEcs, CodeDeployLambda]: "how long the traffic shift takes";
    PutLifecycleEventHookExecutionStatus = "codedeploy:PutLifecycleEventHookExecutionStatus" on DeploymentGroup within Answers
        for [CodeDeployEcs, CodeDeployLambda, Relay]: "answers a hook";
    ContinueDeployment = "codedeploy:ContinueDeployment" on Any within Answers
        for [CodeDeployEcs]: "answers a READY wait";
    StopDeployment = "codedeploy:StopDeployment" on Any within Answers
        for [CodeDeployEcs, CodeDeployLambda]: "vetoes; and rolls back where a failed hook alone would not";
    ListDeployments = "codedeploy:ListDeployments" on DeploymentGroup within Unpublished
        for [CodeDeployEcs, CodeDeployLambda]: "finds deployments that wait, where `intake.poll` names an application";
    GetDeploymentGroup = "codedeploy:GetDeploymentGroup" on DeploymentGroup within Unpublished
        for [Doctor]: "listeners, rollback settings and alarms of a group";
    DescribeTargetGroups = "elasticloadbalancing:DescribeTargetGroups" on Any within LoadBalancers
        for [CodeDeployEcs, EcsNative, Doctor]: "ARN, port and protocol of green's and blue's target groups";
    DescribeTargetHealth = "elasticloadbalancing:DescribeTargetHealth" on Any within LoadBalancers
        for [CodeDeployEcs, EcsNative, Doctor]: "addresses of tasks, and what health checks say of them";
    DescribeListeners = "elasticloadbalancing:DescribeListeners" on Any within LoadBalancers
        for [CodeDeployEcs, EcsNative, Doctor]: "port and protocol of the test and production listeners";
    DescribeLoadBalancers = "elasticloadbalancing:DescribeLoadBalancers" on Any within LoadBalancers
        for [CodeDeployEcs, EcsNative, Doctor]: "host name of a listener";
    DescribeRules = "elasticloadbalancing:DescribeRules" on Any within LoadBalancers
        for [CodeDeployEcs, EcsNative, Doctor]: "where a listener forwards to";
    ListServiceDeployments = "ecs:ListServiceDeployments" on ServiceAndItsDeployments within ServiceDeployments
        for [EcsNative, Wait, Doctor, Sidecar]: "finds deployments that wait, where `intake.poll` names a service; the one a sidecar is part of";
    DescribeServiceDeployments = "ecs:DescribeServiceDeployments" on ServiceAndItsDeployments within ServiceDeployments
        for [EcsNative, Wait, Doctor, Sidecar]: "stage, hooks, weights and status";
    DescribeServiceRevisions = "ecs:DescribeServiceRevisions" on ServiceAndItsDeployments within ServiceRevisions
        for [EcsNative, Doctor, Sidecar]: "target groups and listener rules of green and blue";
    ContinueServiceDeployment = "ecs:ContinueServiceDeployment" on ServiceDeployment within Answers
        for [EcsNative]: "answers a pause";
    StopServiceDeployment = "ecs:StopServiceDeployment" on ServiceDeployment within Answers
        for [EcsNative]: "vetoes";
    DescribeServices = "ecs:DescribeServices" on Service within Services
        for [Doctor, Sidecar]: "controller, hooks and strategy of a service; its task sets";
    ListTasks = "ecs:ListTasks" on Cluster within Tasks
        for [CodeDeployEcs, EcsNative]: "tasks of green, stopped ones included";
    DescribeTasks = "ecs:DescribeTasks" on Task within Tasks
        for [CodeDeployEcs, EcsNative, Sidecar]: "exit codes and reasons of stopped tasks; a sidecar's own colour";
    Invoke = "lambda:InvokeFunction" on Function within Invocations
        for [CodeDeployLambda]: "probes a version";
    GetAlias = "lambda:GetAlias" on Function within Functions
        for [CodeDeployLambda, Doctor]: "traffic weights of the two versions";
    GetFunctionConfiguration = "lambda:GetFunctionConfiguration" on Function within Functions
        for [Doctor]: "time-out, log format and role of a function";
    GetMetricData = "cloudwatch:GetMetricData" on Any within MetricData
        for [CloudWatch]: "real traffic, as `cloudwatch` objectives name it";
    DescribeAlarms = "cloudwatch:DescribeAlarms" on Alarm within Alarms
        for [CloudWatch, Doctor]: "the state of `alarms`";
    ListMetrics = "cloudwatch:ListMetrics" on Any within Metrics
        for [Doctor]: "whether a metric with these dimensions exists";
    PutApprovalResult = "codepipeline:PutApprovalResult" on PipelineAction within Answers
        for [Pipeline]: "answers a manual approval";
    ListActionExecutions = "codepipeline:ListActionExecutions" on PipelineArn within Unpublished
        for [Pipeline]: "the token of an approval in a PARALLEL pipeline, and whether it still waits";
    GetPipeline = "codepipeline:GetPipeline" on PipelineArn within Unpublished
        for [Doctor]: "actions of a pipeline";
    PutJobSuccessResult = "codepipeline:PutJobSuccessResult" on Any within Answers
        for [Pipeline, Relay]: "answers a Lambda action";
    PutJobFailureResult = "codepipeline:PutJobFailureResult" on Any within Answers
        for [Pipeline, Relay]: "answers a Lambda action";
    ReceiveMessage = "sqs:ReceiveMessage" on QueueArn within Queue
        for [Queue]: "takes questions";
    ChangeMessageVisibility = "sqs:ChangeMessageVisibility" on QueueArn within Queue
        for [Queue]: "keeps a question while it is judged, and gives it back";
    DeleteMessage = "sqs:DeleteMessage" on QueueArn within Queue
        for [Queue]: "lets go of an answered question";
    SendMessage = "sqs:SendMessage" on QueueArn within Queue
        for [Relay]: "hands a hook over by the queue";
    DescribeTable = "dynamodb:DescribeTable" on TableArn within Tables
        for [Replicas]: "whether the table has the keys and indexes it must have";
    PutItem = "dynamodb:PutItem" on TableArn within Tables
        for [Replicas]: "writes what happened, where no other gate has written";
    UpdateItem = "dynamodb:UpdateItem" on TableArn within Tables
        for [Replicas]: "renews the lease, takes over from a gate that is gone, closes a question";
    GetItem = "dynamodb:GetItem" on TableArn within Tables
        for [Replicas]: "reads whose question it is, and whether that gate lives";
    Query = "dynamodb:Query" on TableAndItsIndexes within Tables
        for [Replicas]: "reads what happened, and which questions are open";
    GetParameter = "ssm:GetParameter" on Parameter within Parameters
        for [Secrets]: "reads `ssm:` references";
    GetSecretValue = "secretsmanager:GetSecretValue" on SecretArn within Secrets
        for [Secrets]: "reads `secretsmanager:` references";
    Publish = "sns:Publish" on TopicArn within Topics
        for [Notify]: "tells a topic of a decision";
    AssumeRole = "sts:AssumeRole" on Role within Roles
        for [OtherAccounts]: "takes on the roles that `aws.assume-role` names";
    UpdateTaskProtection = "ecs:UpdateTaskProtection" on Task within TaskProtection
        for [Protection]: "keeps ECS from taking the daemon's task away while a question waits";
    GetCallerIdentity = "sts:GetCallerIdentity" on Any within Roles
        for [Doctor]: "who gate is; needs no permission";
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
