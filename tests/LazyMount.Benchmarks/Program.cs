using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Engines;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;
using LazyMount.Benchmarks;

// Whole layers take a good part of a second each: a few iterations of one invocation say enough. In this process, because
// the layers are read once and kept.
IConfig config = DefaultConfig.Instance
    .AddJob(Job.Default
        .WithToolchain(InProcessEmitToolchain.Instance)
        .WithStrategy(RunStrategy.Monitoring)
        .WithWarmupCount(2)
        .WithIterationCount(9)
        .WithInvocationCount(1)
        .WithUnrollFactor(1))
    .AddDiagnoser(MemoryDiagnoser.Default)
    .AddColumn(StatisticColumn.Median)
    .HideColumns(Column.Error, Column.StdDev)
    .WithOptions(ConfigOptions.JoinSummary)
    .WithSummaryStyle(SummaryStyle.Default.WithRatioStyle(RatioStyle.Value));
if (BenchmarkImage.Layers.Count == 0)
{
    Console.Error.WriteLine("No benchmark image: run scripts/make-bench-images.sh, and set BENCH_DIR if it is not in its usual place.");
    return 1;
}
if (args is ["spans", { } directory])
{
    await SpansOfDirectory.PrintAsync(directory);
    return 0;
}
BenchmarkSwitcher.FromAssembly(typeof(BenchmarkImage).Assembly).Run(args.Length == 0 ? ["--filter", "*"] : args, config);
return 0;
