/** What `npm run relayer` can do: the one table of commands and options. */

import { ROLES } from '@dvt-relayer/api/contract.ts'
import {
  type CommandWords,
  commandUsageOf,
  completionWords,
  usageError as errorWith,
  type Program,
  usageOf as usageOfAll,
} from '@dvt-relayer/common/cli/words.ts'
import type { BootError } from '@dvt-relayer/common/errors.ts'

const RUN = 'npm run relayer --'
const YES = { type: 'boolean', default: false, about: 'do it' } as const
const JSON_OUTPUT = { type: 'boolean', default: false, about: 'for programs' } as const
const RELAYER = { type: 'string', default: '', value: 'URL', about: 'where the relayer is' } as const
const TOKEN_FILE = { type: 'string', default: '', value: 'FILE', about: "a file with a sidecar's token in it" } as const
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
  bundle: {
    about: 'write what waits for one node into a file, to be signed where there is no network',
    options: {
      relayer: RELAYER,
      'token-file': TOKEN_FILE,
      'share-index': { type: 'string', default: '', value: 'N', about: 'of the node, from 1; of SSV its operator id' },
      'cluster-lock': { type: 'string', default: '', value: 'FILE', about: "the cluster's lock, of Obol" },
      keyshares: { type: 'string', default: '', value: 'FILE', about: 'the keyshares file, of SSV' },
      out: { type: 'string', default: '', value: 'FILE', about: 'where to write it' },
    },
    example: `${RUN} bundle --relayer https://relayer.example --token-file ./token --share-index 1 --cluster-lock ./cluster-lock.json --out bundle.json`,
    more: 'The relayer is asked over HTTP, and no setting is read. Exit codes: docs/operating/air-gap.md.',
  },
  'take-bundle': {
    about: 'hand in what a node has signed of a bundle',
    options: {
      relayer: RELAYER,
      'token-file': TOKEN_FILE,
      in: { type: 'string', default: '', value: 'FILE', about: 'the signed bundle' },
    },
    example: `${RUN} take-bundle --relayer https://relayer.example --token-file ./token --in signed.json`,
    more: 'It may be handed in again and again. Exit codes: docs/operating/air-gap.md.',
  },
  'adopt-copy': {
    about: 'let relayers work with a restored copy of the database, when those on the first one are stopped for good',
    options: { yes: YES },
    example: `${RUN} adopt-copy --yes`,
    more: 'A relayer refuses a copy that was made while another one ran, until this was said once.',
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
  completion: completionWords('relayer'),
} as const satisfies Readonly<Record<string, CommandWords>>
export type CommandName = keyof typeof COMMANDS

export const PROGRAM: Program = { name: 'relayer', serves: 'serve', commands: COMMANDS }
export const USAGE = usageOfAll(PROGRAM)

/** What one command does, with its options and an example. */
export const usageOf = (name: CommandName): string => commandUsageOf(PROGRAM, name)

/** The error of a command that was called wrongly: what is wrong, then the usage. */
export const usageError = (text: string, usage: string = USAGE): BootError => errorWith(text, usage)
