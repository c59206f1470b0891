/** The command line: which options each command takes, what they mean, and the text of `--help`. */

import { parseArgs } from 'node:util'
import { usage } from './errors.ts'
import { type Command, VERDICTS } from './verdicts.ts'

interface Option {
  type: 'string' | 'boolean'
  /** May be given several times. */
  multiple?: true
  /** How the help calls the value. */
  value?: string
  help: string
}

const FILE = 'FILE'
const HEX = 'HEX'

const COMMON = {
  network: {
    type: 'string',
    value: 'NAME',
    help: 'mainnet, hoodi, gnosis, or a network file (.json) as the relayer takes it',
  },
  json: { type: 'boolean', help: 'answer in JSON: verdict, message, facts' },
  help: { type: 'boolean', help: 'this text' },
} as const satisfies Record<string, Option>

const CLAIMS = {
  'public-key': {
    type: 'string',
    value: HEX,
    help: 'the validator; needed where the file does not say, else compared',
  },
  'validator-index': { type: 'string', value: 'NUMBER', help: 'its index, likewise' },
  epoch: { type: 'string', value: 'NUMBER', help: "epoch of the exit; the network's Capella epoch when left out" },
} as const satisfies Record<string, Option>

const ORACLE_SET = {
  config: { type: 'string', value: FILE, help: 'the oracle config, as it lies on IPFS' },
  cid: { type: 'string', value: 'CID', help: 'what the config is called there: shares of another set are told by it' },
} as const satisfies Record<string, Option>

const RECEIPT = {
  receipt: { type: 'string', value: HEX, help: 'the receipt that somebody else has of this set' },
} as const satisfies Record<string, Option>

const PASSWORD = {
  'password-file': { type: 'string', value: FILE, help: 'the password of the key file, where that is a keystore' },
} as const satisfies Record<string, Option>

export const OPTIONS = {
  'verify-share': {
    share: {
      type: 'string',
      value: FILE,
      help: "an item or a page of the relayer's exit-shares, or a whole set of its oracle-shares",
    },
    'key-file': { type: 'string', value: FILE, help: "the oracle's key: hex, or a Web3 keystore" },
    ...PASSWORD,
    ...ORACLE_SET,
    ...RECEIPT,
    ...CLAIMS,
    ...COMMON,
  },
  'verify-set': {
    set: {
      type: 'string',
      value: FILE,
      help: "the relayer's oracle-shares of a validator, or the shares the Operator got",
    },
    ...ORACLE_SET,
    ...RECEIPT,
    ...CLAIMS,
    ...COMMON,
  },
  'verify-exit': {
    set: { type: 'string', value: FILE, help: 'the whole set: its ciphertexts are opened with the key files' },
    'key-file': {
      type: 'string',
      multiple: true,
      value: FILE,
      help: "an oracle's key (or the owner's): hex, or a Web3 keystore; several times",
    },
    ...PASSWORD,
    share: {
      type: 'string',
      multiple: true,
      value: 'PLACE=FILE',
      help: "a decrypted share (hex) and its oracle's place from 1; several times",
    },
    'owner-copy': { type: 'string', value: FILE, help: "instead of shares: the owner's copy of the exit" },
    'print-exit': {
      type: 'boolean',
      help: 'print the signed exit, ready for the beacon API. Whoever has it can end the validator',
    },
    ...ORACLE_SET,
    ...CLAIMS,
    ...COMMON,
  },
} as const satisfies Record<Command, Record<string, Option>>

const ABOUT: Readonly<Record<Command, string>> = {
  'verify-share': "Is this ciphertext a true share of that validator's exit, under that oracle set?",
  'verify-set': 'Do the public key shares share the validator key, with exactly the threshold of the config?',
  'verify-exit': "Do these shares, or the owner's copy, give the validator's exit?",
}

/** The values of a command's options; what was not given is undefined. */
export type Values<C extends Command> = {
  readonly [K in keyof (typeof OPTIONS)[C]]?: (typeof OPTIONS)[C][K] extends { multiple: true }
    ? string[]
    : (typeof OPTIONS)[C][K] extends { type: 'boolean' }
      ? boolean
      : string
}

/** The options of a command line. @throws {InputError} usage, for unknown options and for texts that are no option */
export function parseOptions<C extends Command>(command: C, args: readonly string[]): Values<C> {
  const values = parseValues(command, args)
  const isStdin = (value: string | boolean | undefined) => typeof value === 'string' && /^(\d+=)?-$/.test(value)
  if (Object.values(values).flat().filter(isStdin).length > 1) throw usage('only one file can be standard input')
  return values as Values<C>
}

function parseValues(command: Command, args: readonly string[]) {
  const options: Readonly<Record<string, Option>> = OPTIONS[command]
  try {
    return parseArgs({ args: [...args], options, allowPositionals: false }).values
  } catch (error) {
    // Node's message says what is wrong with an option, but repeats a stray text, which may be a secret.
    const { code, message } = error as { code?: string; message: string }
    const reason =
      code === 'ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL' ? 'there is a text that belongs to no option' : message
    throw usage(`${reason.split('. ')[0]}; see dvt-verify ${command} --help`)
  }
}

export const isCommand = (text: string | undefined): text is Command =>
  text !== undefined && Object.hasOwn(OPTIONS, text)

/** The help of the program. */
export function programHelp(): string {
  const commands = Object.entries(ABOUT).map(([name, about]) => `  ${name.padEnd(14)}${about}`)
  return [
    'Usage: dvt-verify COMMAND [options]',
    '',
    ...commands,
    '',
    'dvt-verify COMMAND --help tells its options and verdicts.',
    'A FILE may be - for standard input, once. Keys and passwords are read from files only.',
    'Exit codes: 0 the verdict is ok, 1 it is another one, 2 wrong options or unreadable input.',
    '',
  ].join('\n')
}

/** The help of a command. */
export function commandHelp(command: Command): string {
  const options = Object.entries<Option>(OPTIONS[command]).map(
    ([name, { value, help }]) => `  ${`--${name}${value === undefined ? '' : ` ${value}`}`.padEnd(26)}${help}`,
  )
  const verdicts = Object.entries(VERDICTS[command]).map(([name, meaning]) => `  ${name.padEnd(21)}${meaning}`)
  return [
    `Usage: dvt-verify ${command} [options]`,
    '',
    ABOUT[command],
    '',
    ...options,
    '',
    'Verdicts:',
    ...verdicts,
    '',
  ].join('\n')
}
