/** `completion`: what completes the commands of a program in a shell, written from their table. */

import { parseArgs } from 'node:util'
import { commandUsageOf, type Program, SHELLS, usageError } from './words.ts'

/** What the writers ask of a program: its commands, their flags, and the name of its function in a shell. */
interface Words {
  readonly program: string
  /** Of the function, and what its variables begin with. */
  readonly own: string
  readonly table: Program['commands']
  readonly names: readonly string[]
  flagsOf(name: string): string[]
  /** Options with a closed set of values, as `[command, option, values]`; the shells of this very command stand without an option. */
  readonly choices: readonly (readonly [string, string, readonly string[]])[]
}

const wordsOf = ({ name: program, commands: table }: Program): Words => ({
  program,
  own: `__dvt_${program}`,
  table,
  names: Object.keys(table),
  flagsOf: (name) => [...Object.keys(table[name]?.options ?? {}).map((option) => `--${option}`), '--help'],
  choices: Object.entries(table).flatMap(([name, { options }]) =>
    Object.entries(options).flatMap(([option, { choices: values }]) =>
      values === undefined ? [] : [[name, `--${option}`, values] as const],
    ),
  ),
})

/** In bash, where npm's own completion stands beside it: what is no call of ours is left to that, if it is there. */
function bash({ program, own, names, flagsOf, choices }: Words): string {
  return `# Completion of npm run ${program} for bash.  source <(npm run -s ${program} -- completion bash)
# Sourced again it keeps its place: what stood before it may be that of another program of ours.
if ! declare -F ${own} >/dev/null; then
  ${own}_before=$(complete -p npm 2>/dev/null | sed -n 's/.*-F \\([^ ]*\\) npm$/\\1/p')
  complete -o default -F ${own} npm
fi
${own}() {
  local at=0 i words=
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [ "\${COMP_WORDS[i]}" = -- ]; then at=$i; break; fi
    words+=" \${COMP_WORDS[i]}"
  done
  case "$at$words " in
    0*) [ -n "$${own}_before" ] && "$${own}_before" "$@"; return ;;
    *" ${program} "*) ;;
    *) [ -n "$${own}_before" ] && "$${own}_before" "$@"; return ;;
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
`
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

function zsh({ program, own, table, names, choices }: Words): string {
  const described = (items: readonly (readonly [string, string])[]) =>
    items.map(([name, about]) => quoted(`${name}:${about.replaceAll(':', '\\:')}`)).join(' ')
  return `# Completion of npm run ${program} for zsh.  source <(npm run -s ${program} -- completion zsh)
# Sourced again it keeps its place: what stood before it may be that of another program of ours.
if (( ! \${+functions[${own}]} )); then
  ${own}_before=\${_comps[npm]}
  compdef ${own} npm
fi
${own}() {
  local at=\${words[(i)--]} answers
  if (( at >= CURRENT )) || [[ " \${words[1,at]} " != *" ${program} "* ]]; then
    [[ -n $${own}_before ]] && $${own}_before "$@"
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
`
}

function fish({ program, own, table, names, choices }: Words): string {
  const line = (condition: string, rest: string) => `complete -c npm -n ${quoted(condition)} ${rest}`
  const inCommand = (name: string) => `${own}_in ${name}`
  return `# Completion of npm run ${program} for fish.  npm run -s ${program} -- completion fish | source
function ${own}_in
  set -l all (commandline -opc)
  set -l at (contains -i -- -- $all); or return 1
  contains ${program} $all[1..$at]; or return 1
  set -l given $all[(math $at + 1)..-1]
  test (count $all) -gt $at; or set given
  test "$given[1]" = "$argv[1]"; or return 1
  test (count $argv) -eq 1; or test "$given[-1]" = "$argv[2]"
end
${[
  line(`${own}_in ''`, `-f -a ${quoted('--version')} -d ${quoted('which version this is')}`),
  ...names.map((name) => line(`${own}_in ''`, `-f -a ${name} -d ${quoted(table[name]?.about ?? '')}`)),
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

const WRITE: Readonly<Record<string, (words: Words) => string>> = { bash, zsh, fish }

/** Runs the command. Returns an exit code. */
export function completion(program: Program, args: readonly string[]): number {
  const { positionals } = parseArgs({ args: [...args], options: {}, allowPositionals: true })
  const write = positionals.length === 1 ? WRITE[positionals[0] ?? ''] : undefined
  if (write === undefined)
    throw usageError(`name the shell: ${SHELLS.join(', ')}`, commandUsageOf(program, 'completion'))
  process.stdout.write(write(wordsOf(program)))
  return 0
}
