namespace LazyMount.Finding;

/// <summary>An expression of find: it holds of a name or does not, and may do something on the way. Immutable.</summary>
internal abstract class FindExpression
{
    /// <summary>Evaluates the expression for the name that a run has come to.</summary>
    public abstract bool Holds(FindRun run);

    /// <summary>A test or an action.</summary>
    public sealed class Test(Func<FindRun, bool> holds) : FindExpression
    {
        public override bool Holds(FindRun run) => holds(run);
    }

    /// <summary>All of some, from the left, until one does not hold.</summary>
    public sealed class And(IReadOnlyList<FindExpression> parts) : FindExpression
    {
        public override bool Holds(FindRun run)
        {
            foreach (FindExpression part in parts)
            {
                if (!part.Holds(run))
                {
                    return false;
                }
            }
            return true;
        }
    }

    /// <summary>One of some, from the left, until one holds.</summary>
    public sealed class Or(IReadOnlyList<FindExpression> parts) : FindExpression
    {
        public override bool Holds(FindRun run)
        {
            foreach (FindExpression part in parts)
            {
                bool holds = part.Holds(run);
                if (holds || run.IsEnded)
                {
                    return holds;
                }
            }
            return false;
        }
    }

    /// <summary>All of some are evaluated, and the last one counts: the comma.</summary>
    public sealed class Sequence(IReadOnlyList<FindExpression> parts) : FindExpression
    {
        public override bool Holds(FindRun run)
        {
            bool last = false;
            foreach (FindExpression part in parts)
            {
                last = part.Holds(run);
                if (run.IsEnded)
                {
                    break;
                }
            }
            return last;
        }
    }

    /// <summary>What does not hold.</summary>
    public sealed class Not(FindExpression part) : FindExpression
    {
        public override bool Holds(FindRun run) => !part.Holds(run) && !run.IsEnded;
    }
}
