namespace LazyMount.Finding;

/// <summary>What the words of an expression ask for.</summary>
internal sealed class FindPlan
{
    private readonly List<Action<FindRun>> _preparations = [];

    /// <summary>The expression, with the action at its end if it has none.</summary>
    public FindExpression Expression { get; set; } = new FindExpression.And([]);

    /// <summary>Names nearer to the starting point are not looked at.</summary>
    public int LeastDepth { get; set; }

    /// <summary>Names further from the starting point are not walked.</summary>
    public int MostDepth { get; set; } = int.MaxValue;

    /// <summary>Directories come after what is in them.</summary>
    public bool IsDepthFirst { get; set; }

    /// <summary>Starting points that are symbolic links are followed.</summary>
    public bool FollowsStarts { get; set; }

    /// <summary>The image's /etc/passwd is read.</summary>
    public bool NeedsUsers { get; set; }

    /// <summary>The image's /etc/group is read.</summary>
    public bool NeedsGroups { get; set; }

    /// <summary>Adds what is to be done when the image is open and before the walk, such as to look up the file of <c>-newer</c>.</summary>
    public void Prepare(Action<FindRun> preparation) => _preparations.Add(preparation);

    /// <summary>Looks things up, walks the starting points and evaluates the expression of each name.</summary>
    /// <param name="run">The run.</param>
    /// <param name="starts">The paths to start at.</param>
    /// <param name="onMissing">Called for a starting point that is not there.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task RunAsync(FindRun run, IReadOnlyList<byte[]> starts, Action<Exception> onMissing, CancellationToken cancellationToken)
    {
        run.Users = NeedsUsers ? await Trees.IdNames.ReadUsersAsync(run.Opened, cancellationToken) : null;
        run.Groups = NeedsGroups ? await Trees.IdNames.ReadGroupsAsync(run.Opened, cancellationToken) : null;
        foreach (Action<FindRun> preparation in _preparations)
        {
            preparation(run);
        }
        foreach (byte[] start in starts)
        {
            if (run.IsEnded)
            {
                break;
            }
            FileSystem.ResolvedPath resolved;
            try
            {
                resolved = run.Find(start, FollowsStarts);
            }
            catch (Cli.CommandException e)
            {
                onMissing(e);
                continue;
            }
            Walk(run, run.BeginAt(start, resolved), cancellationToken);
        }
    }

    private void Walk(FindRun run, Trees.DepthFirstWalk walk, CancellationToken cancellationToken)
    {
        while (!run.IsEnded && walk.MoveNext())
        {
            cancellationToken.ThrowIfCancellationRequested();
            bool descends = walk.IsDirectory && walk.Depth < MostDepth;
            if (!descends)
            {
                walk.SkipBelow();
            }
            if (walk.Depth < LeastDepth || walk.IsLeaving != (descends && IsDepthFirst))
            {
                continue;
            }
            run.ComeToName();
            Expression.Holds(run);
            if (run.IsPruned)
            {
                walk.SkipBelow();
            }
        }
    }
}
