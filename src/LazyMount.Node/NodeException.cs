namespace LazyMount.Node;

/// <summary>The service cannot run; the message is one sentence for the user.</summary>
internal sealed class NodeException(string message, Exception? inner = null) : Exception(message, inner);
