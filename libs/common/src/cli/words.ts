/** What a program of ours can do, as one table: arguments are read by it, `--help` and the completion of shells are written from it. */

import { BootError } from '../errors.ts'

/** An option of a command, as `parseArgs` takes it, with words. */
interface Option {
  readonly type: 'string' | 'boolean'
  readonly default?: string | boolean
  /** What stands for its value; without it there is none. */
  readonly value?: string
  /** Values it may have; others are not completed. */
  readonly choices?: readonly string[]
  readonly about: string
}

export interface CommandWords {
  readonly about: string
  readonly options: Readonly<Record<string, Option>>
  /** What stands for its one argument beside the options. */
  readonly argument?: string
  readonly example: string
  /** What else one should know before. */
  readonly more?: string
}

/** A program, by its script in package.json. */
export interface Program {
  readonly name: 'relayer' | 'sidecar'
  /** What it does without a command. */
  readonly serves: string
  readonly commands: Readonly<Record<string, CommandWords>>
}

/** What asks for help, as a command or an option. */
const HELP: readonly string[] = ['help', '--help', '-h']
export const SHELLS = ['bash', 'zsh', 'fish'] as const

const runOf = ({ name }: Pick<Program, 'name'>) => `npm run ${name} --`

/** The command that prints completions, the same in every program. */
export const completionWords = (name: Program['name']) =>
  ({
    about: 'print what completes these commands in a shell: bash, zsh or fish',
    options: {},
    argument: 'SHELL',
    example: `source <(npm run -s ${name} -- completion bash)`,
    more: `It completes after "npm run ${name} --" and "npm run -s ${name} --".`,
  }) as const satisfies CommandWords

/** An option as one writes it. */
const written = (name: string, { value }: Option) => `--${name}${value === undefined ? '' : ` ${value}`}`

/** All commands, a line each. */
export function usageOf(program: Program): string {
  const { name, serves, commands } = program
  return [
    `usage: npm run ${name.padEnd(28)} ${serves}`,
    `       ${runOf(program)} COMMAND [OPTION…]  one of these:`,
    '',
    ...Object.entries(commands).map(([command, { about }]) => `  ${command.padEnd(16)} ${about}`),
    '',
    `${runOf(program)} COMMAND --help says more of one, --version which version this is. Settings: .env.example`,
  ].join('\n')
}

/** What one command does, with its options and an example. */
export function commandUsageOf(program: Program, name: string): string {
  const { about, options, argument, example, more } = program.commands[name] as CommandWords
  const lines = Object.entries(options).map(([option, of]) => `  ${written(option, of).padEnd(22)} ${of.about}`)
  return [
    `usage: ${runOf(program)} ${name}${argument === undefined ? '' : ` ${argument}`}${lines.length > 0 ? ' [OPTION…]' : ''}`,
    '',
    `${about[0]?.toUpperCase()}${about.slice(1)}.${more === undefined ? '' : ` ${more}`}`,
    ...(lines.length > 0 ? ['', ...lines] : []),
    '',
    `example: ${example}`,
  ].join('\n')
}

/** The error of a command that was called wrongly: what is wrong, then the usage. */
export const usageError = (text: string, usage: string): BootError => new BootError('USAGE', `${text}\n\n${usage}`)

/** What is printed instead of running a command, where that is what the arguments ask for: help of one or all, or the version. */
export function findAnswer(program: Program, args: readonly string[], version: string): string | undefined {
  if (args.some((arg) => HELP.includes(arg))) {
    const named = args.find((arg) => Object.hasOwn(program.commands, arg))
    return named === undefined ? usageOf(program) : commandUsageOf(program, named)
  }
  return args[0] === '--version' ? version : undefined
}
