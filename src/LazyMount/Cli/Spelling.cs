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
            .Select(candidate => (candidate, Distance: word.Length > 1 && candidate.StartsWith(word, StringComparison.Ordinal) ? 1 : Distance(word, candidate)))
            .Where(each => each.Distance <= Math.Max(1, Math.Min(word.Length, each.candidate.Length) / 3) && each.Distance < letters)
            .OrderBy(each => each.Distance).ThenBy(each => each.candidate, StringComparer.Ordinal)];
        string[] best = [.. near.Where(each => each.Distance == near[0].Distance).Take(Most).Select(each => $"'{each.Candidate}'")];
        return best.Length == 0 ? "" : $"; did you mean {string.Join(" or ", best)}?";
    }

    /// <summary>How many letters must be inserted, left out, replaced or exchanged with their neighbour (optimal string alignment).</summary>
    private static int Distance(string a, string b)
    {
        int[,] distance = new int[a.Length + 1, b.Length + 1];
        for (int i = 0; i <= a.Length; i++)
        {
            for (int j = 0; j <= b.Length; j++)
            {
                if (i == 0 || j == 0)
                {
                    distance[i, j] = i + j;
                    continue;
                }
                int cost = char.ToLowerInvariant(a[i - 1]) == char.ToLowerInvariant(b[j - 1]) ? 0 : 1;
                distance[i, j] = Math.Min(Math.Min(distance[i - 1, j], distance[i, j - 1]) + 1, distance[i - 1, j - 1] + cost);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                {
                    distance[i, j] = Math.Min(distance[i, j], distance[i - 2, j - 2] + 1);
                }
            }
        }
        return distance[a.Length, b.Length];
    }
}
