namespace LazyMount.Blobs.Images;

/// <summary>Finds the tags that a user may have meant by a tag that does not exist.</summary>
public static class NearestTags
{
    private const int Most = 5;

    /// <summary>The question "did you mean 'a', 'b' or 'c'?" for the tags nearest to <paramref name="tag"/>; null when no tag is near.</summary>
    public static string? Suggest(string tag, IReadOnlyCollection<string> tags)
    {
        List<string> near = [.. Find(tag, tags).Select(each => $"'{Printable.Of(each)}'")];
        return near.Count == 0 ? null : $"did you mean {(near.Count == 1 ? near[0] : $"{string.Join(", ", near.SkipLast(1))} or {near[^1]}")}?";
    }

    /// <summary>
    /// Up to five, the nearest first: those that differ in few characters, and those that begin alike. For "latest" the highest version
    /// numbers. Empty when nothing is near.
    /// </summary>
    internal static IReadOnlyList<string> Find(string tag, IReadOnlyCollection<string> tags)
    {
        string wanted = tag.ToLowerInvariant();
        int bound = Math.Max(1, wanted.Length / 3);
        List<string> near = [.. tags
            .Select(each => (Tag: each, Distance: DistanceOf(wanted, each.ToLowerInvariant(), bound)))
            .Where(each => each.Distance <= bound)
            .OrderBy(each => each.Distance).ThenBy(each => each.Tag.Length).ThenBy(each => each.Tag, StringComparer.Ordinal)
            .Select(each => each.Tag).Take(Most)];
        if (near.Count > 0 || tag != "latest")
            return near;
        return [.. tags.Where(each => each.Length > 0 && (char.IsAsciiDigit(each[0]) || (each[0] == 'v' && each.Length > 1 && char.IsAsciiDigit(each[1]))))
            .OrderByDescending(VersionOf, Comparer<long[]>.Create(static (a, b) => a.AsSpan().SequenceCompareTo(b))).ThenBy(each => each.Length).Take(3)];
    }

    // Edits; what begins alike is as near as can be.
    private static int DistanceOf(string a, string b, int bound)
    {
        if (Math.Min(a.Length, b.Length) >= 2 && (a.StartsWith(b, StringComparison.Ordinal) || b.StartsWith(a, StringComparison.Ordinal)))
            return 1;
        return Math.Abs(a.Length - b.Length) > bound ? bound + 1 : EditDistance.Between(a, b);
    }

    private static long[] VersionOf(string tag)
        => [.. tag.TrimStart('v').Split('.', '-', '_', '+').TakeWhile(part => part.Length is > 0 and < 18 && part.All(char.IsAsciiDigit)).Select(part => long.Parse(part, System.Globalization.CultureInfo.InvariantCulture))];
}
