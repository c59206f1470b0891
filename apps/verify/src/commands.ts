/** The commands: from options to what is judged, and to what was found. */

import { extname } from 'node:path'
import { checkContent, parseCid } from '@dvt-relayer/chain/ipfs/cid.ts'
import { parseHex } from '@dvt-relayer/common/hex.ts'
import { createNobleEngine } from '@dvt-relayer/crypto/bls/noble.ts'
import { type GivenSet, isNamedConfig } from './checks/oracle-set.ts'
import { type ExitResult, verifyExit, verifyOwnerCopy } from './checks/verify-exit.ts'
import { verifySet } from './checks/verify-set.ts'
import { verifyShare } from './checks/verify-share.ts'
import { unreadable, usage } from './errors.ts'
import type { Claims } from './exit-message.ts'
import { labelOf, type ReadFile, readSecretKey, textOf } from './input.ts'
import { type ExitNetwork, findNetwork, readNetworkFile } from './networks.ts'
import type { Values } from './options.ts'
import { readConfig, readOwnerCopy, readPlainShare, readShareSet, readShares, type SignedExit } from './read.ts'
import type { Command, Finding, Report } from './verdicts.ts'

/** What a command has found, and the exit to print where that was asked for. */
export interface Outcome {
  report: Finding
  exit?: SignedExit
}

function needed(option: string, value: string | undefined): string {
  if (value === undefined) throw usage(`--${option} is needed`)
  return value
}

function hexOption(option: string, value: string | undefined, bytes: number): Uint8Array | undefined {
  if (value === undefined) return undefined
  const parsed = parseHex(value, bytes)
  if (parsed === undefined) throw usage(`--${option} must be hex of ${bytes} bytes`)
  return parsed
}

function numberOption(option: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  if (!/^\d{1,16}$/.test(value) || !Number.isSafeInteger(Number(value)))
    throw usage(`--${option} must be a whole number`)
  return Number(value)
}

async function readNetwork(read: ReadFile, value: string | undefined): Promise<ExitNetwork> {
  const name = needed('network', value)
  const builtIn = findNetwork(name)
  if (builtIn !== undefined) return builtIn
  if (name !== '-' && extname(name) !== '.json')
    throw usage('--network must be mainnet, hoodi, gnosis, or a network file that ends in .json')
  return readNetworkFile(textOf(await read('network', name), name), `--network ${name}`)
}

type ClaimOptions = Pick<Values<'verify-set'>, 'public-key' | 'validator-index' | 'epoch'>

const readClaims = (options: ClaimOptions, network: ExitNetwork): Claims => ({
  publicKey: hexOption('public-key', options['public-key'], 48),
  validatorIndex: numberOption('validator-index', options['validator-index']),
  epoch: numberOption('epoch', options.epoch) ?? network.capellaEpoch,
})

async function readGivenSet(read: ReadFile, options: Pick<Values<'verify-set'>, 'config' | 'cid'>): Promise<GivenSet> {
  const path = needed('config', options.config)
  if (options.cid !== undefined && parseCid(options.cid) === undefined) throw usage('--cid is no IPFS CID')
  const content = await read('config', path)
  const named = options.cid === undefined ? undefined : parseCid(options.cid)
  if (named !== undefined && (await checkContent(named, content)) === 'different')
    throw unreadable(`${labelOf(path)}: it is not the file that --cid names: its bytes have another digest`)
  return { config: readConfig(textOf(content, path), labelOf(path)), cid: options.cid, content }
}

/** `verify-share`. */
async function runShare(options: Values<'verify-share'>, read: ReadFile): Promise<Outcome> {
  const network = await readNetwork(read, options.network)
  const claims = readClaims(options, network)
  const path = needed('share', options.share)
  const keyPath = needed('key-file', options['key-file'])
  const receipt = hexOption('receipt', options.receipt, 32)
  const given = await readGivenSet(read, options)
  const shares = readShares(textOf(await read('share', path), path), labelOf(path), claims)
  const secretKey = await readSecretKey(read, keyPath, options['password-file'])
  const engine = createNobleEngine()
  const sources = 'set' in shares ? [shares.set] : shares.items
  const reports: Report<'verify-share'>[] = []
  for (const source of sources) {
    const named = await isNamedConfig(given, source.labels)
    reports.push(verifyShare(engine, { network, given, claims, secretKey, isNamedConfig: named, receipt }, source))
  }
  return { report: summary(reports) }
}

/** One report of many: the only one, or the first verdict against with the list of all. */
function summary(reports: readonly Report<'verify-share'>[]): Report<'verify-share'> {
  const [first] = reports
  if (first === undefined) throw unreadable('there are no shares')
  if (reports.length === 1) return first
  const bad = reports.filter(({ verdict }) => verdict !== 'ok')
  const [worst] = bad
  const facts = {
    shares: reports.length,
    ok: reports.length - bad.length,
    reports: reports.map((report) => ({ ...report })),
  }
  if (worst === undefined) return { verdict: 'ok', message: `all ${reports.length} shares are true`, facts }
  const message = `${bad.length} of ${reports.length} shares are not; the first, of ${worst.facts['public_key']}: ${worst.message}`
  return { verdict: worst.verdict, message, facts }
}

/** `verify-set`. */
async function runSet(options: Values<'verify-set'>, read: ReadFile): Promise<Outcome> {
  const network = await readNetwork(read, options.network)
  const claims = readClaims(options, network)
  const path = needed('set', options.set)
  const receipt = hexOption('receipt', options.receipt, 32)
  const given = await readGivenSet(read, options)
  const set = readShareSet(textOf(await read('set', path), path), labelOf(path), claims)
  return { report: verifySet(createNobleEngine(), { network, given, claims, set, receipt }) }
}

/** `verify-exit`. */
async function runExit(options: Values<'verify-exit'>, read: ReadFile): Promise<Outcome> {
  const network = await readNetwork(read, options.network)
  const result =
    options['owner-copy'] === undefined
      ? await runShares(options, read, network)
      : await runOwnerCopy(options['owner-copy'], options, read, network)
  const { report, exit } = result
  return options['print-exit'] === true && exit !== undefined ? { report, exit } : { report }
}

async function runShares(options: Values<'verify-exit'>, read: ReadFile, network: ExitNetwork): Promise<ExitResult> {
  const claims = readClaims(options, network)
  const given = await readGivenSet(read, options)
  const set =
    options.set === undefined
      ? undefined
      : readShareSet(textOf(await read('set', options.set), options.set), labelOf(options.set), claims)
  const keyPaths = options['key-file'] ?? []
  if (set === undefined && keyPaths.length > 0) throw usage('--key-file needs --set: the ciphertexts it opens')
  if (keyPaths.length === 0 && options.share === undefined) throw usage('--key-file or --share is needed')
  const secretKeys: Uint8Array[] = []
  for (const path of keyPaths) secretKeys.push(await readSecretKey(read, path, options['password-file']))
  const shares: { place: number; share: Uint8Array }[] = []
  for (const option of options.share ?? []) {
    const [, place, path] = /^(\d{1,3})=(.+)$/.exec(option) ?? []
    if (place === undefined || path === undefined || Number(place) < 1 || Number(place) > given.config.oracles.length)
      throw usage(`--share must be PLACE=FILE, with a place of 1 to ${given.config.oracles.length}`)
    shares.push({ place: Number(place), share: readPlainShare(textOf(await read('share', path), path), labelOf(path)) })
  }
  const { publicKey, validatorIndex, epoch } = claims
  const exit = set?.exit ?? {
    publicKey: publicKey ?? missing('public-key'),
    validatorIndex: validatorIndex ?? missing('validator-index'),
    epoch,
  }
  return verifyExit(createNobleEngine(), { network, given, claims, exit, set, secretKeys, shares })
}

function missing(option: string): never {
  throw usage(`--${option} is needed without --set`)
}

async function runOwnerCopy(
  path: string,
  options: Values<'verify-exit'>,
  read: ReadFile,
  network: ExitNetwork,
): Promise<ExitResult> {
  const [keyPath, ...more] = options['key-file'] ?? []
  if (keyPath === undefined || more.length > 0) throw usage("--owner-copy takes one --key-file, the owner's")
  const claims = readClaims(options, network)
  const copy = readOwnerCopy(textOf(await read('owner-copy', path), path), labelOf(path), claims)
  const secretKey = await readSecretKey(read, keyPath, options['password-file'])
  return verifyOwnerCopy(createNobleEngine(), { network, claims, copy, secretKey })
}

/**
 * Runs a command.
 *
 * @throws {InputError}
 */
export async function runCommand(command: Command, options: Values<Command>, read: ReadFile): Promise<Outcome> {
  if (command === 'verify-share') return await runShare(options as Values<'verify-share'>, read)
  if (command === 'verify-set') return await runSet(options as Values<'verify-set'>, read)
  return await runExit(options as Values<'verify-exit'>, read)
}
