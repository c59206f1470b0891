/** What `npm run relayer` can do: serve (no argument), make a token, forget sealed values. Each returns an exit code. */

import { parseArgs } from 'node:util'
import { ROLES } from '@dvt-relayer/api/routes.ts'
import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { BootError, CodedError } from '@dvt-relayer/common/errors.ts'
import { parseHex } from '@dvt-relayer/common/hex.ts'
import { Lifetime } from '@dvt-relayer/common/lifetime.ts'
import { createLogger, describeError } from '@dvt-relayer/common/logger.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { DatabaseError } from '@dvt-relayer/db/errors.ts'
import { readConfig } from '../config.ts'
import { createToken, TOKEN_NAME } from '../http/auth.ts'
import { type Overrides, openDatabase, startRelayer } from '../relayer.ts'
import { releaseKey } from '../services/sealing/release.ts'
import { forgetSealed } from '../services/sealing/sealing.ts'
import { rotate } from './rotate.ts'

const USAGE = `usage:
  npm run relayer                                          serve
  npm run relayer -- token --name N --role R [--for B]     make a token and its line for AUTH_TOKENS_FILE
                                                           R: ${ROLES.join(', ')}
                                                           B: vaults, share indexes or an oracle, comma separated; all when left out
  npm run relayer -- release-key --key 0x… --yes           free a key from the vault it is reserved for or bound to
  npm run relayer -- rotate --vault 0x… [--dry-run | --send]
                                                           renew a vault's exit signatures for the oracles in force: print the transaction,
                                                           with --send send it, with --dry-run only say what would be done
  npm run relayer -- void-sealed --yes                     forget every stored signature, when SEALING_KEY is lost for good`

const HELP = ['help', '--help', '-h']

/** The database could not be reached: a supervisor may try again. */
const TRY_AGAIN = 75

/** Runs one command. `onSignal` is told what to call when the process is asked to stop. */
export async function runCommand(
  args: readonly string[],
  environment: Environment,
  onSignal: (stop: () => void) => void,
  overrides: Overrides = {},
): Promise<number> {
  try {
    const [command, ...rest] = args
    if (args.some((arg) => HELP.includes(arg))) {
      console.log(USAGE)
      return 0
    }
    if (command === undefined) return await serve(environment, onSignal, overrides)
    if (command === 'token') return token(rest)
    if (command === 'release-key') return await release(rest, environment)
    if (command === 'rotate') return await rotate(rest, environment, onSignal)
    if (command === 'void-sealed') return await voidAll(rest, environment)
    throw new BootError('USAGE', `there is no command ${command}\n\n${USAGE}`)
  } catch (error) {
    return explain(error)
  }
}

async function serve(
  environment: Environment,
  onSignal: (stop: () => void) => void,
  overrides: Overrides,
): Promise<number> {
  const { config, warnings } = readConfig(environment)
  const logger = createLogger(config.log)
  for (const warning of warnings) logger.warn(warning)
  const stopped = Promise.withResolvers<void>()
  // A signal during boot is honoured as soon as boot is through.
  onSignal(stopped.resolve)
  const relayer = await startRelayer(config, { logger, ...overrides })
  await stopped.promise
  logger.info('stopping')
  await relayer[Symbol.asyncDispose]()
  logger.info('stopped')
  return 0
}

function token(args: readonly string[]): number {
  const { values } = parseArgs({
    args: [...args],
    options: { name: { type: 'string' }, role: { type: 'string' }, for: { type: 'string', default: '*' } },
  })
  const role = ROLES.find((candidate) => candidate === values.role)
  if (values.name === undefined || !TOKEN_NAME.test(values.name))
    throw new BootError('USAGE', `--name must be 1 to 64 letters, digits, dots, dashes or underscores\n\n${USAGE}`)
  if (role === undefined) throw new BootError('USAGE', `--role must be one of ${ROLES.join(', ')}\n\n${USAGE}`)
  const made = createToken(values.name, role, values.for)
  console.log(`token (shown once, give it to its user):\n${made.token}\n\nline for AUTH_TOKENS_FILE:\n${made.line}`)
  return 0
}

async function release(args: readonly string[], environment: Environment): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: { key: { type: 'string', default: '' }, yes: { type: 'boolean', default: false } },
  })
  const publicKey = parseHex(values.key, 48)
  if (publicKey === undefined) throw new BootError('USAGE', `--key must be a validator public key\n\n${USAGE}`)
  if (!values.yes)
    throw new BootError(
      'USAGE',
      `deposit signatures never expire: whoever holds one for the old vault can still make that deposit, and the validator is then the old vault's. Release a key only when all nodes agree that this will not happen; each node's journal has to be told as well. Add --yes to do it\n\n${USAGE}`,
    )
  const { config } = readConfig(environment)
  const logger = createLogger(config.log)
  await using lifetime = new Lifetime(logger)
  const { db } = await openDatabase(config, logger, lifetime)
  const { vault, wasBound } = await releaseKey(db, publicKey)
  console.log(`the key is free; it was ${wasBound ? 'bound to' : 'reserved for'} ${checksumAddress(vault)}`)
  if (wasBound)
    console.log(
      'WARNING: a deposit signature for that vault may exist and never expires. Watch the deposit contract for this key.',
    )
  return 0
}

async function voidAll(args: readonly string[], environment: Environment): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: { yes: { type: 'boolean', default: false } } })
  if (!values.yes)
    throw new BootError(
      'USAGE',
      `this forgets every stored exit signature and partial signature; sidecars sign again. Add --yes to do it\n\n${USAGE}`,
    )
  const { config } = readConfig(environment)
  const logger = createLogger(config.log)
  await using lifetime = new Lifetime(logger)
  const { db } = await openDatabase(config, logger, lifetime)
  const count = await forgetSealed(db)
  console.log(`${count} exits are collected again; the next start takes the sealing key that is set then`)
  return 0
}

/** Which setting led to a database that does not work. */
function whereOf(error: unknown): string {
  const host = error instanceof DatabaseError ? error.meta['host'] : undefined
  return host === undefined ? '' : ` at ${host} (DATABASE_URL)`
}

/** Says what is wrong in plain words, and whether trying again may help. */
function explain(error: unknown): number {
  if (error instanceof CodedError) console.error(`${error.message}${whereOf(error)}`)
  else if ((error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS'))
    console.error(`${(error as Error).message}\n\n${USAGE}`)
  else console.error(JSON.stringify(describeError(error)))
  if (error instanceof ChainError || error instanceof BootError) return 1
  return error instanceof CodedError && error.code === 'DATABASE_UNREACHABLE' ? TRY_AGAIN : 1
}
