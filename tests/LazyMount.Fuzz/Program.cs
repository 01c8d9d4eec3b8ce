using System.Security.Cryptography;
using LazyMount.Fuzz;
using SharpFuzz;

// The control of the inflate target refuses truncated streams only when asked to, before its first use.
AppContext.SetSwitch("System.IO.Compression.UseStrictValidation", true);

switch (args)
{
    case ["list"]:
        Array.ForEach(FuzzTarget.All, target => Console.WriteLine(target.Name));
        return 0;

    // Under afl-fuzz; a second process runs the target, so that one that dies or hangs is replaced.
    case ["run", var name]:
        Action<byte[]> run = FuzzTarget.Named(name).Run;
        Fuzzer.OutOfProcess.Run(stream =>
        {
            using var input = new MemoryStream();
            stream.CopyTo(input);
            run(input.ToArray());
        });
        return 0;

    case ["seeds", var name, var directory]:
        Directory.CreateDirectory(directory);
        foreach (byte[] seed in FuzzTarget.Named(name).Seeds())
        {
            File.WriteAllBytes(Path.Combine(directory, Convert.ToHexStringLower(SHA256.HashData(seed))[..16]), seed);
        }
        return 0;

    case ["replay", var name, .. var files]:
        FuzzTarget target = FuzzTarget.Named(name);
        foreach (string file in files.Length > 0 ? files : target.KeptFiles())
        {
            Console.WriteLine(file);
            target.Run(File.ReadAllBytes(file));
        }
        return 0;

    default:
        Console.Error.WriteLine("LazyMount.Fuzz list | run TARGET (under afl-fuzz) | seeds TARGET DIRECTORY | replay TARGET [FILE…]");
        return 2;
}
