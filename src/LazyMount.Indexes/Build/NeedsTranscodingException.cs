namespace LazyMount.Indexes.Build;

/// <summary>
/// A gzip layer has a stretch in which decoding cannot start and which is too long to be read as one span. It can be read when
/// it is transcoded, which must begin with its first byte: another pass with <see cref="LayerIndexer.TranscodesGzip"/> does that.
/// </summary>
internal sealed class NeedsTranscodingException()
    : NotSupportedException($"it has more than {Model.CheckpointTable.LongestSpan} bytes without a place where decoding can start");
