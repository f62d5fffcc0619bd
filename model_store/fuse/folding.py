"""Takes out of a graph what a net in use does not need: dropout, identities, most batch normalisation."""

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model_store.fuse.tracing import module_at

_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)


def fold(net: fx.GraphModule) -> None:
    """Fold each batch normalisation into the convolution before it, and take out what does nothing.

    A convolution is left as it is where something else reads it, too, or where it is called more than once.
    """
    for node in list(net.graph.nodes):
        module = module_at(node, net)
        if isinstance(module, _NOTHING):
            node.replace_all_uses_with(node.args[0])
            net.graph.erase_node(node)
        elif isinstance(module, nn.BatchNorm2d):
            _fold_norm(net, node, module)
    net.graph.eliminate_dead_code()
    net.recompile()


def called_once(node: fx.Node) -> bool:
    """Tell whether no other node calls the same module."""
    calls = [other for other in node.graph.nodes if other.op == "call_module"]
    return [call.target for call in calls].count(node.target) == 1


def _fold_norm(net: fx.GraphModule, node: fx.Node, norm: nn.BatchNorm2d) -> None:
    before = node.args[0]
    conv = module_at(before, net)
    if not isinstance(before, fx.Node) or not isinstance(conv, nn.Conv2d):
        return
    if len(before.users) > 1 or not called_once(before) or norm.running_mean is None:
        return
    net.set_submodule(str(before.target), fuse_conv_bn_eval(conv, norm))
    node.replace_all_uses_with(before)
    net.graph.erase_node(node)
