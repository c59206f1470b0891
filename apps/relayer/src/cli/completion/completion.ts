/** `npm run relayer -- completion`: what completes the commands in a shell, written from their table. */

import { parseArgs } from 'node:util'
import { COMMANDS, usageError, usageOf } from '../usage.ts'

/** Options by command: what stands in the table. */
const table: Readonly<
  Record<string, { about: string; options: Readonly<Record<string, { about: string; choices?: readonly string[] }>> }>
> = COMMANDS
const names = Object.keys(table)
const SHELLS = ['bash', 'zsh', 'fish'] as const

const flagsOf = (name: string) => [...Object.keys(table[name]?.options ?? {}).map((option) => `--${option}`), '--help']

/** Options with a closed set of values, as `[command, option, values]`; the shells of this very command stand without an option. */
const choices: readonly (readonly [string, string, readonly string[]])[] = Object.entries(table).flatMap(
  ([name, { options }]) =>
    Object.entries(options).flatMap(([option, { choices: values }]) =>
      values === undefined ? [] : [[name, `--${option}`, values] as const],
    ),
)

/** In bash, where npm's own completion stands beside it: what is no call of ours is left to that, if it is there. */
function bash(): string {
  return `# Completion of npm run relayer for bash.  source <(npm run -s relayer -- completion bash)
__dvt_relayer_found=$(complete -p npm 2>/dev/null | sed -n 's/.*-F \\([^ ]*\\) npm$/\\1/p')
[ "$__dvt_relayer_found" = __dvt_relayer ] || __dvt_relayer_before=$__dvt_relayer_found
__dvt_relayer() {
  local at=0 i words=
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [ "\${COMP_WORDS[i]}" = -- ]; then at=$i; break; fi
    words+=" \${COMP_WORDS[i]}"
  done
  case "$at$words " in
    0*) [ -n "$__dvt_relayer_before" ] && "$__dvt_relayer_before" "$@"; return ;;
    *" relayer "*) ;;
    *) [ -n "$__dvt_relayer_before" ] && "$__dvt_relayer_before" "$@"; return ;;
  esac
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} command=\${COMP_WORDS[at+1]} answers
  if ((COMP_CWORD == at + 1)); then
    answers='${names.join(' ')} --help --version'
  else
    case "$command $previous" in
${choices.map(([name, option, values]) => `      '${name} ${option}') answers='${values.join(' ')}' ;;`).join('\n')}
      'completion completion') answers='${SHELLS.join(' ')} --help' ;;
      *) case "$command" in
${names.map((name) => `        ${name}) answers='${flagsOf(name).join(' ')}' ;;`).join('\n')}
      esac ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$answers" -- "$current"))
}
complete -o default -F __dvt_relayer npm
`
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

function zsh(): string {
  const described = (items: readonly (readonly [string, string])[]) =>
    items.map(([name, about]) => quoted(`${name}:${about.replaceAll(':', '\\:')}`)).join(' ')
  return `# Completion of npm run relayer for zsh.  source <(npm run -s relayer -- completion zsh)
[[ \${_comps[npm]} == __dvt_relayer ]] || __dvt_relayer_before=\${_comps[npm]}
__dvt_relayer() {
  local at=\${words[(i)--]} answers
  if (( at >= CURRENT )) || [[ " \${words[1,at]} " != *" relayer "* ]]; then
    [[ -n $__dvt_relayer_before ]] && $__dvt_relayer_before "$@"
    return
  fi
  if (( CURRENT == at + 1 )); then
    answers=(${described([...names.map((name) => [name, table[name]?.about ?? ''] as const), ['--version', 'which version this is']])})
    _describe command answers
    return
  fi
  case "\${words[at+1]} \${words[CURRENT-1]}" in
${choices.map(([name, option, values]) => `    '${name} ${option}') compadd ${values.join(' ')}; return ;;`).join('\n')}
    'completion completion') compadd ${SHELLS.join(' ')} --help; return ;;
  esac
  case "\${words[at+1]}" in
${names
  .map((name) => {
    const options = Object.entries(table[name]?.options ?? {})
    const items = options.map(([option, { about }]) => [`--${option}`, about] as const)
    return `    ${name}) answers=(${described([...items, ['--help', 'what it does']])}) ;;`
  })
  .join('\n')}
    *) return ;;
  esac
  _describe option answers
}
compdef __dvt_relayer npm
`
}

function fish(): string {
  const line = (condition: string, rest: string) => `complete -c npm -n ${quoted(condition)} ${rest}`
  const inCommand = (name: string) => `__dvt_relayer_in ${name}`
  return `# Completion of npm run relayer for fish.  npm run -s relayer -- completion fish | source
function __dvt_relayer_in
  set -l all (commandline -opc)
  set -l at (contains -i -- -- $all); or return 1
  contains relayer $all[1..$at]; or return 1
  set -l given $all[(math $at + 1)..-1]
  test (count $all) -gt $at; or set given
  test "$given[1]" = "$argv[1]"; or return 1
  test (count $argv) -eq 1; or test "$given[-1]" = "$argv[2]"
end
${[
  line("__dvt_relayer_in ''", `-f -a ${quoted('--version')} -d ${quoted('which version this is')}`),
  ...names.map((name) => line("__dvt_relayer_in ''", `-f -a ${name} -d ${quoted(table[name]?.about ?? '')}`)),
  // What stands after -- are no options to fish, so that they are offered as words.
  ...names.flatMap((name) =>
    [...Object.entries(table[name]?.options ?? {}), ['help', { about: 'what it does' }] as const].map(
      ([option, { about }]) => line(inCommand(name), `-f -a ${quoted(`--${option}`)} -d ${quoted(about)}`),
    ),
  ),
  ...choices.map(([name, option, values]) => line(`${inCommand(name)} ${option}`, `-f -a ${quoted(values.join(' '))}`)),
  line(inCommand('completion'), `-f -a ${quoted(SHELLS.join(' '))}`),
].join('\n')}
`
}

const WRITE: Readonly<Record<string, () => string>> = { bash, zsh, fish }

/** Runs the command. Returns an exit code. */
export function completion(args: readonly string[]): number {
  const { positionals } = parseArgs({ args: [...args], options: COMMANDS.completion.options, allowPositionals: true })
  const write = positionals.length === 1 ? WRITE[positionals[0] ?? ''] : undefined
  if (write === undefined) throw usageError(`name the shell: ${SHELLS.join(', ')}`, usageOf('completion'))
  process.stdout.write(write())
  return 0
}
