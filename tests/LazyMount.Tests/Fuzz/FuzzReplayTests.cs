using LazyMount.Fuzz;
using Xunit;

namespace LazyMount.Tests.Fuzz;

/// <summary>Every fuzz target takes its seeds, what fuzzing found worth keeping, and what once failed.</summary>
public sealed class FuzzReplayTests
{
    public static TheoryData<string> Targets => [.. FuzzTarget.All.Select(target => target.Name)];

    [Theory]
    [MemberData(nameof(Targets))]
    public void Seeds_AreTaken(string name)
    {
        FuzzTarget target = FuzzTarget.Named(name);
        Assert.All(target.Seeds().ToList(), target.Run);
    }

    [Theory]
    [MemberData(nameof(Targets))]
    public void KeptInputs_AreTaken(string name)
    {
        FuzzTarget target = FuzzTarget.Named(name);
        Assert.All(target.KeptFiles().ToList(), file => target.Run(File.ReadAllBytes(file)));
    }
}
