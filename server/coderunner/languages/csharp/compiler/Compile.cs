using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Emit;
using Microsoft.CodeAnalysis.Text;

/// compile.exe OUTPUT ENTRY SOURCE...: Roslyn, for Mono's library. Ends with 0, 1 where the program is wrong, and 2 where this
/// compiler cannot say.
public static class Compile
{
    const string Library = "/usr/lib/mono/4.5";

    // What the compiler takes from the library for `init` and `record`, and Mono's has not.
    const string Missing = "namespace System.Runtime.CompilerServices { internal static class IsExternalInit { } }";

    // As a new project has them; a program that says `using System;` itself has chosen its own.
    const string Usings = "global using System; global using System.Collections.Generic; global using System.IO;"
        + "global using System.Linq; global using System.Threading; global using System.Threading.Tasks;";

    static readonly CSharpParseOptions Options = new CSharpParseOptions(LanguageVersion.Preview);

    public static int Main(string[] words)
    {
        try
        {
            return Run(words[0], words[1], words.Skip(2).ToArray());
        }
        catch (Exception error)
        {
            Console.Error.WriteLine("the newer compiler failed: " + error.Message);
            return 2;
        }
    }

    static int Run(string output, string entry, string[] sources)
    {
        var trees = sources.Select(Read).ToList();
        LeaveOut(trees, Path.GetFullPath(entry));
        bool chosen = trees.Any(tree => tree.GetCompilationUnitRoot().Usings.Any(one => one.Name.ToString() == "System"));
        trees.Add(CSharpSyntaxTree.ParseText(chosen ? Missing : Usings + Missing, Options));
        var references = Directory.GetFiles(Library, "*.dll").Where(path => !Path.GetFileName(path).StartsWith("Mono."))
            .Select(path => MetadataReference.CreateFromFile(path));
        var compilation = CSharpCompilation.Create("main", trees, references, new CSharpCompilationOptions(
            OutputKind.ConsoleApplication, optimizationLevel: OptimizationLevel.Debug, concurrentBuild: false));
        EmitResult result;
        using (var program = File.Create(output))
        using (var places = File.Create(Path.ChangeExtension(output, "pdb")))
            result = compilation.Emit(program, places,
                options: new EmitOptions(debugInformationFormat: DebugInformationFormat.PortablePdb));
        string here = Directory.GetCurrentDirectory() + "/";
        foreach (var one in result.Diagnostics.Where(one => one.Severity >= DiagnosticSeverity.Warning))
            Console.Error.WriteLine(one.ToString().Replace(here, ""));
        if (!result.Success) File.Delete(output);
        return result.Success ? 0 : 1;
    }

    static SyntaxTree Read(string path)
    {
        using (var stream = File.OpenRead(path))
            return CSharpSyntaxTree.ParseText(SourceText.From(stream, Encoding.UTF8), Options, Path.GetFullPath(path));
    }

    /// Statements outside of a class are a program of their own, and so is each other file that has such.
    static void LeaveOut(List<SyntaxTree> trees, string entry)
    {
        var other = trees.Where(tree => tree.FilePath != entry
            && tree.GetCompilationUnitRoot().Members.Any(one => one is GlobalStatementSyntax)).ToList();
        if (other.Count == 0 || other.Count == trees.Count) return;
        trees.RemoveAll(other.Contains);
        Console.Error.WriteLine("Not part of " + Path.GetFileName(entry) + "'s program, so left out: "
            + string.Join(", ", other.Select(tree => Path.GetFileName(tree.FilePath))));
    }
}
