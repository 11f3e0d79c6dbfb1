"""What goes with what: kinds of load balancers, protocols of listeners and target groups, refused where AWS refuses."""

from __future__ import annotations

from typing import Any

from ..errors import AwsError, not_emulated
from .network import NetworkListener
from .proxy import Listener, Route

# by the load balancer's ARN: "...:loadbalancer/app/name/id" or ".../net/..."
_LISTENERS: dict[str, type[Listener]] = {"app": Listener, "net": NetworkListener}
_PROTOCOLS = {"app": ("HTTP", "HTTPS"), "net": ("TCP", "TLS", "UDP", "TCP_UDP", "QUIC", "TCP_QUIC")}
_TARGET_TYPES = ("ip", "instance")
_HEALTH_CHECKS = {"HTTP": ("HTTP", "HTTPS"), "TCP": ("TCP", "HTTP", "HTTPS")}


def listener_class(balancer: str, protocol: str | None) -> type[Listener]:
    """The data plane of a listener on this load balancer."""
    kind = balancer.partition(":loadbalancer/")[2].partition("/")[0]
    made = _LISTENERS[kind]
    if protocol is None:
        raise _invalid("A listener protocol must be specified")
    if protocol not in _PROTOCOLS[kind]:
        raise _invalid(f"Listener protocol '{protocol}' must be one of '{', '.join(_PROTOCOLS[kind])}'")
    if protocol != made.protocol:
        raise not_emulated(f"{protocol} listeners")
    return made


def check_action(made: type[Listener] | Listener, route: Route) -> None:
    """Refuses an action the listener's protocol does not go with."""
    if route.fixed and made.protocol != "HTTP":
        raise AwsError("InvalidLoadBalancerAction", "Listeners of network load balancers can only forward")
    for group, _ in route.groups:
        protocol = group.described.get("Protocol", "HTTP")
        if protocol != made.protocol:
            raise AwsError(
                "InvalidConfigurationRequest",
                f"Listener protocol '{made.protocol}' is not supported with a target group with protocol '{protocol}'",
            )


def check_group(params: dict[str, Any]) -> dict[str, Any]:
    """CreateTargetGroup's parameters with AWS's defaults, which moto leaves out."""
    kind = params.get("TargetType", "instance")
    if kind not in _TARGET_TYPES:
        raise not_emulated(f"target groups of type {kind}: only {' and '.join(_TARGET_TYPES)}")
    if "Protocol" not in params:
        raise _invalid("A protocol must be specified")
    protocol = params["Protocol"]
    if protocol not in _HEALTH_CHECKS:
        raise not_emulated(f"target groups of protocol {protocol}: only {' and '.join(_HEALTH_CHECKS)}")
    if protocol == "TCP" and "ProtocolVersion" in params:
        raise _invalid("Protocol version is only for target groups of protocol HTTP and HTTPS")
    if params.get("ProtocolVersion", "HTTP1") != "HTTP1":
        raise not_emulated("target groups other than HTTP/1.1")
    check = params.get("HealthCheckProtocol", protocol)
    if check not in _HEALTH_CHECKS[protocol]:
        raise _invalid(f"Health check protocol '{check}' must be one of '{', '.join(_HEALTH_CHECKS[protocol])}'")
    if check == "TCP" and ("HealthCheckPath" in params or "Matcher" in params):
        raise _invalid("Health check path and matcher are not for health checks of protocol TCP")
    return params | {"TargetType": kind}


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)
