/**
 * What `npm run relayer` can do: the one table of commands and options. Arguments are read by it, `--help` and the completion of shells
 * are written from it.
 */

import { ROLES } from '@dvt-relayer/api/contract.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'

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

interface CommandWords {
  readonly about: string
  readonly options: Readonly<Record<string, Option>>
  /** What stands for its one argument beside the options. */
  readonly argument?: string
  readonly example: string
  /** What else one should know before. */
  readonly more?: string
}

const RUN = 'npm run relayer --'
const YES = { type: 'boolean', default: false, about: 'do it' } as const
const JSON_OUTPUT = { type: 'boolean', default: false, about: 'for programs' } as const
const KEY = { type: 'string', default: '', value: '0x…', about: 'validator public key' } as const

export const COMMANDS = {
  token: {
    about: 'make a token and its line for AUTH_TOKENS_FILE',
    options: {
      name: {
        type: 'string',
        value: 'NAME',
        about: 'stands in the log: 1 to 64 letters, digits, dots, dashes, underscores',
      },
      role: { type: 'string', value: 'ROLE', choices: ROLES, about: `one of ${ROLES.join(', ')}` },
      for: {
        type: 'string',
        default: '*',
        value: 'BINDING',
        about: 'vaults, share indexes or an oracle, comma separated; all when left out',
      },
    },
    example: `${RUN} token --name node-1 --role sidecar --for 1`,
  },
  doctor: {
    about: 'look at everything a relayer needs, and say what is wrong and what to do; nothing is changed',
    options: { json: JSON_OUTPUT },
    example: `${RUN} doctor`,
    more: 'The settings are those of the relayer. The exit code is 1 where something is wrong.',
  },
  explain: {
    about: 'why the validator of this key is not ready, who has to act, what comes next; nothing is changed',
    options: { json: JSON_OUTPUT },
    argument: '0x…',
    example: `${RUN} explain 0x8f7a…`,
  },
  status: {
    about:
      'how everything stands: nodes, validators that are not ready, vaults, oracles, what is wrong; nothing is changed',
    options: { json: JSON_OUTPUT },
    example: `${RUN} status`,
    more: 'It reads the database of the relayer, as the page at /status does. The exit code is 1 where somebody has to act.',
  },
  'check-backup': {
    about: 'say whether a restored copy of the database is a good backup; nothing is changed',
    options: {
      'database-url': {
        type: 'string',
        default: '',
        value: 'URL',
        about: 'the PostgreSQL that the backup was restored into',
      },
      json: JSON_OUTPUT,
    },
    example:
      'PGPASSWORD=… npm run -s relayer -- check-backup --database-url postgres://relayer@127.0.0.1:5432/restored',
    more: `The settings are those of the relayer: its sealing key must open the copy, and its database is compared with it where it answers. A
password in the URL can be read by everybody on the machine while this runs: set PGPASSWORD. The exit code is 1 where something is wrong.`,
  },
  'release-key': {
    about: 'free a key from the vault it is reserved for or bound to',
    options: { key: KEY, yes: YES },
    example: `${RUN} release-key --key 0x8f7a… --yes`,
  },
  rotate: {
    about: "renew a vault's exit signatures for the oracles in force: print the transaction, or send it",
    options: {
      vault: { type: 'string', default: '', value: '0x…', about: 'address of the vault' },
      'dry-run': { type: 'boolean', default: false, about: 'only say what would be done' },
      send: { type: 'boolean', default: false, about: 'send the transaction' },
    },
    example: `${RUN} rotate --vault 0x8Ae5c1046158526Cf236f74D8FB88fabE2E94ACa --dry-run`,
  },
  'undo-registered': {
    about: 'take back that a validator is registered, or has left, where no consensus node says so',
    options: { key: KEY, yes: YES },
    example: `${RUN} undo-registered --key 0x8f7a… --yes`,
  },
  'void-sealed': {
    about: 'forget every stored signature, when SEALING_KEY is lost for good',
    options: { yes: YES },
    example: `${RUN} void-sealed --yes`,
  },
  completion: {
    about: 'print what completes these commands in a shell: bash, zsh or fish',
    options: {},
    argument: 'SHELL',
    example: `source <(npm run -s relayer -- completion bash)`,
    more: 'It completes after "npm run relayer --" and "npm run -s relayer --".',
  },
} as const satisfies Readonly<Record<string, CommandWords>>
export type CommandName = keyof typeof COMMANDS

const words: Readonly<Record<string, CommandWords>> = COMMANDS

/** An option as one writes it. */
const written = (name: string, { value }: Option) => `--${name}${value === undefined ? '' : ` ${value}`}`

export const USAGE = [
  'usage: npm run relayer                      serve',
  `       ${RUN} COMMAND [OPTION…]  one of these:`,
  '',
  ...Object.entries(words).map(([name, { about }]) => `  ${name.padEnd(16)} ${about}`),
  '',
  `${RUN} COMMAND --help says more of one, --version which version this is. Settings: .env.example`,
].join('\n')

/** What one command does, with its options and an example. */
export function usageOf(name: CommandName): string {
  const { about, options, argument, example, more } = words[name] as CommandWords
  const lines = Object.entries(options).map(([option, of]) => `  ${written(option, of).padEnd(22)} ${of.about}`)
  return [
    `usage: ${RUN} ${name}${argument === undefined ? '' : ` ${argument}`}${lines.length > 0 ? ' [OPTION…]' : ''}`,
    '',
    `${about[0]?.toUpperCase()}${about.slice(1)}.${more === undefined ? '' : ` ${more}`}`,
    ...(lines.length > 0 ? ['', ...lines] : []),
    '',
    `example: ${example}`,
  ].join('\n')
}

/** The error of a command that was called wrongly: what is wrong, then the usage. */
export const usageError = (text: string, usage: string = USAGE): BootError =>
  new BootError('USAGE', `${text}\n\n${usage}`)
