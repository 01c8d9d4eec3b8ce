using LazyMount.Blobs.Images;

namespace LazyMount.Cli;

/// <summary>Guesses what a mistyped word was meant to be.</summary>
internal static class Spelling
{
    /// <summary>
    /// ", did you mean 'mount'?" with the most similar candidates, or an empty string when none is similar: one that differs by a typing
    /// error for every three letters, or that begins with the word.
    /// </summary>
    public static string Suggest(string word, IEnumerable<string> candidates)
    {
        const int Most = 3;
        int letters = word.TrimStart('-').Length;
        (string Candidate, int Distance)[] near = [.. candidates.Distinct()
            .Select(candidate => (candidate, Distance: word.Length > 1 && candidate.StartsWith(word, StringComparison.Ordinal) ? 1 : EditDistance.Between(word, candidate)))
            .Where(each => each.Distance <= Math.Max(1, Math.Min(word.Length, each.candidate.Length) / 3) && each.Distance < letters)
            .OrderBy(each => each.Distance).ThenBy(each => each.candidate, StringComparer.Ordinal)];
        string[] best = [.. near.Where(each => each.Distance == near[0].Distance).Take(Most).Select(each => $"'{each.Candidate}'")];
        return best.Length == 0 ? "" : $"; did you mean {string.Join(" or ", best)}?";
    }
}
