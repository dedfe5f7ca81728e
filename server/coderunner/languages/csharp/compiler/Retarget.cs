using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Mono.Cecil;

/// Retarget.exe LIBRARY FROM TO: rewrites each assembly of the folder FROM, made for .NET's library, so that its types are
/// those of Mono's, and writes it to TO.
public static class Retarget
{
    static readonly Dictionary<string, AssemblyNameDefinition> Homes = new Dictionary<string, AssemblyNameDefinition>();
    static string from;

    public static void Main(string[] words)
    {
        from = words[1];
        foreach (string path in Directory.GetFiles(words[0], "*.dll").OrderBy(path => !path.EndsWith("mscorlib.dll")))
        {
            var library = AssemblyDefinition.ReadAssembly(path);
            foreach (var type in library.MainModule.Types.Where(one => one.IsPublic && !Homes.ContainsKey(one.FullName)))
                Homes[type.FullName] = library.Name;
        }
        var resolver = new DefaultAssemblyResolver();
        resolver.AddSearchDirectory(from);
        foreach (string path in Directory.GetFiles(from, "*.dll"))
        {
            var assembly = AssemblyDefinition.ReadAssembly(path, new ReaderParameters { AssemblyResolver = resolver });
            Types(assembly.MainModule);
            Methods(assembly.MainModule);
            assembly.Write(Path.Combine(words[2], Path.GetFileName(path)));
        }
    }

    static void Types(ModuleDefinition module)
    {
        foreach (var type in module.GetTypeReferences().Where(one => one.DeclaringType == null && IsLibrary(one)))
        {
            AssemblyNameDefinition home;
            if (!Homes.TryGetValue(type.FullName, out home)) continue;  // what Mono has not: three that are not used
            var reference = module.AssemblyReferences.FirstOrDefault(one => one.FullName == home.FullName);
            if (reference == null)
            {
                reference = new AssemblyNameReference(home.Name, home.Version) { PublicKeyToken = home.PublicKeyToken };
                module.AssemblyReferences.Add(reference);
            }
            type.Scope = reference;
        }
    }

    /// Debian's Mono is compiled by mcs, which does not mark what returns a reference that is only read.
    static void Methods(ModuleDefinition module)
    {
        var used = module.Types.SelectMany(All).SelectMany(type => type.Methods).Where(method => method.HasBody)
            .SelectMany(method => method.Body.Instructions).Select(one => one.Operand).OfType<MethodReference>();
        foreach (var method in used.Where(one => !(one is MethodSpecification)))
        {
            var marked = method.ReturnType as RequiredModifierType;
            var owner = method.DeclaringType.GetElementType();
            while (owner.DeclaringType != null) owner = owner.DeclaringType;
            if (marked != null && IsLibrary(owner)) method.ReturnType = marked.ElementType;
        }
    }

    static bool IsLibrary(TypeReference type)
    {
        return type.Scope is AssemblyNameReference && !File.Exists(Path.Combine(from, type.Scope.Name + ".dll"));
    }

    static IEnumerable<TypeDefinition> All(TypeDefinition type)
    {
        return new[] { type }.Concat(type.NestedTypes.SelectMany(All));
    }
}
