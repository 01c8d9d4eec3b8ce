namespace LazyMount.Cli;

/// <summary>What makes a shell complete command lines of ours: each asks `lazymount complete`, so that there is one place that knows.</summary>
internal static class CompletionScripts
{
    public static IReadOnlyList<string> Shells { get; } = ["bash", "zsh", "fish"];

    /// <summary>The script for a shell, or null.</summary>
    public static string? Of(string shell) => shell switch
    {
        "bash" => Bash,
        "zsh" => Zsh,
        "fish" => Fish,
        _ => null,
    };

    // Readline takes ":" and "=" for the ends of words: what stands before the last of them is on the line already.
    private const string Bash =
        """
        # bash completion for lazymount. To use it: eval "$(lazymount completion bash)"
        _lazymount() {
          local line=${COMP_LINE:0:COMP_POINT} current before='' candidate
          local -a words
          IFS=$' \t\n' read -ra words <<<"$line"
          [[ $line == *[[:space:]] ]] && words+=('')
          current=${words[-1]}
          if [[ $current == *[:=]* && ${COMP_WORDBREAKS-} == *:* ]]; then
            before=${current%"${current##*[:=]}"}
          fi
          COMPREPLY=()
          while IFS= read -r candidate; do
            printf -v candidate %q "${candidate#"$before"}"
            COMPREPLY+=("$candidate")
          done < <("$1" complete -- "${words[@]:1}" 2>/dev/null)
          if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/:=] ]]; then
            compopt -o nospace 2>/dev/null
          fi
        }
        complete -F _lazymount lazymount
        """;

    private const string Zsh =
        """
        #compdef lazymount
        # zsh completion for lazymount. To use it: eval "$(lazymount completion zsh)", or keep it as _lazymount in a directory of $fpath.
        _lazymount() {
          local line name
          local -a names texts open
          for line in "${(@f)$("${words[1]}" complete --describe -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
            [[ -n $line ]] || continue
            name=${line%%$'\t'*}
            if [[ $name == *[/:=] ]]; then
              open+=("$name")
            else
              names+=("$name")
              texts+=("${line/$'\t'/  -- }")
            fi
          done
          (( $#names )) && compadd -l -d texts -a names
          (( $#open )) && compadd -S '' -a open
          (( $#names + $#open ))
        }
        if [[ ${funcstack[1]} == _lazymount ]]; then
          _lazymount "$@"
        else
          compdef _lazymount lazymount
        fi
        """;

    private const string Fish =
        """
        # fish completion for lazymount. To use it: lazymount completion fish | source
        complete -c lazymount -f -a '(lazymount complete --describe -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
        """;
}
