/**
 * `npm run relayer -- rotate`: one rotation by hand, beside a running relayer or without one. It takes the same lock, does the same
 * steps, and finishes splits itself; what the nodes must sign needs a running relayer, which they post to.
 */

import { parseArgs } from 'node:util'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { equalBytes } from '@dvt-relayer/common/hex.ts'
import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { Lifetime, pause } from '@dvt-relayer/common/process/lifetime.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { checksumAddress, parseAddress } from '@dvt-relayer/crypto/address.ts'
import { claimFinishable } from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import { hasClaimedExits } from '@dvt-relayer/db/queries/rotations.ts'
import { createChain } from '../../chain.ts'
import { type RelayerConfig, readConfig } from '../../config.ts'
import type { Context } from '../../context.ts'
import { startCryptoPool } from '../../crypto-workers/pool.ts'
import { createEvents } from '../../events.ts'
import { takePlace } from '../../services/database-place.ts'
import { ROTATION_REQUESTER } from '../../services/exits/assign.ts'
import { createOracleSets, type OracleSets } from '../../services/oracles/sets.ts'
import { createRotation, type Rotation } from '../../services/rotation/rotation.ts'
import { describeStep, type Step } from '../../services/rotation/steps.ts'
import { openRotationWallet } from '../../services/rotation/transaction.ts'
import { openSealing } from '../../services/sealing/sealing.ts'
import { createFinishing, type Finishing } from '../../services/signatures/finish.ts'
import { COMMANDS, usageError, usageOf } from '../usage.ts'
import { openExisting } from '../with-database.ts'
import { followTransaction, printPlan, printStep, printUpdate } from './rotate-output.ts'

const USAGE = usageOf('rotate')
const INSTEAD =
  'That relayer can do it as well: POST /vaults/{vault}/rotation gives the transaction, and ROTATION=on with a wallet does all'
/** Splits take milliseconds each; those that another process has begun and left take a while. */
const SPLIT_MS = 40_000
const SPLIT_AT_ONCE = 16
/** How often the oracles are asked for approvals that are too few. */
const ATTEMPTS = 3
const AGAIN_MS = 1_000

/** What is asked for. */
interface Request {
  vault: Uint8Array
  isDryRun: boolean
  isSending: boolean
}

/** Runs the command. Returns an exit code: 0 also where nothing is to be done. */
export async function rotate(
  args: readonly string[],
  environment: Environment,
  onSignal: (stop: () => void) => void,
): Promise<number> {
  const values = parseFlags(args)
  const { config } = readConfig(environment)
  const request = requestOf(values, config)
  const wallet = request.isSending ? await openRotationWallet(config) : undefined
  if (request.isSending && wallet === undefined)
    throw usageError('--send needs ROTATION_WALLET_KEY_FILE and ROTATION_WALLET_PASSWORD_FILE', USAGE)
  const stop = new AbortController()
  onSignal(() => stop.abort())
  // Standard output is the transaction's.
  const logger = createLogger({ ...config.log, destination: process.stderr })
  await using lifetime = new Lifetime(logger)
  const db = await openExisting(config, logger, lifetime, request.isDryRun ? 'read' : 'write', INSTEAD)
  if (!request.isDryRun) await takePlace(db, logger)
  const events = createEvents(logger)
  const crypto = lifetime.use('signature workers', startCryptoPool())
  const chain = createChain(config, crypto, events, logger)
  await chain.execution.checkChain()
  await chain.consensus.checkChain()
  const oracleSets = createOracleSets({ db, chain, events })
  const context = { config, db, crypto, chain, events, logger, oracleSets }
  const rotation = createRotation(context, wallet)
  return request.isDryRun
    ? printPlan(request.vault, await rotation.plan(request.vault, stop.signal))
    : await rotateNow(context, rotation, request, stop.signal)
}

function parseFlags(args: readonly string[]) {
  const { values } = parseArgs({ args: [...args], options: COMMANDS.rotate.options })
  return values
}

function requestOf(values: ReturnType<typeof parseFlags>, config: RelayerConfig): Request {
  const vault = vaultOf(values.vault, config)
  if (values['dry-run'] && values.send) throw usageError('--dry-run sends nothing', USAGE)
  return { vault, isDryRun: values['dry-run'], isSending: values.send }
}

function vaultOf(text: string, { vaults }: RelayerConfig): Uint8Array {
  const vault = parseAddress(text)
  if (vault === undefined) throw usageError('--vault must be the address of a vault', USAGE)
  if (vaults !== undefined && !vaults.some((known) => equalBytes(known, vault)))
    throw new BootError('VAULT_UNKNOWN', `${checksumAddress(vault)} is not one of VAULTS`)
  return vault
}

/** Takes the vault as far as it goes, and prints how far that is. */
async function rotateNow(
  context: Pick<Context, 'config' | 'db' | 'crypto' | 'chain' | 'events' | 'logger'> & { oracleSets: OracleSets },
  rotation: Rotation,
  request: Request,
  signal: AbortSignal,
): Promise<number> {
  const { config, db, chain, logger, oracleSets } = context
  const problem = await oracleSets.follow()
  if (problem !== undefined) console.error(`WARNING: ${problem}`)
  const sealing = await openSealing(config, db, logger)
  // No list is kept ready in this process.
  const finishing = createFinishing({ ...context, sealing, announced: () => {} })
  const step = await carryOn(rotation, request, signal, () => split(db, finishing))
  if (step.step === 'approved') return printUpdate(config.network.keeper, step.update)
  if (step.step === 'sent' && step.transactionHash !== undefined)
    return followTransaction(chain.execution, step.transactionHash, signal)
  return printStep(step)
}

/** Finishes what can be finished here; returns whether there was anything, or another process is at it. */
async function split(db: Context['db'], finishing: Finishing): Promise<boolean> {
  for (let round = 0; ; round++) {
    const ids = await claimFinishable(db, null, SPLIT_AT_ONCE)
    if (ids.length === 0) return round > 0 || (await hasClaimedExits(db, ROTATION_REQUESTER))
    await finishing.finish(ids)
  }
}

/** Goes on until nothing more can be done here. */
async function carryOn(
  rotation: Rotation,
  { vault, isSending }: Request,
  signal: AbortSignal,
  finish: () => Promise<boolean>,
): Promise<Step> {
  const started = performance.now()
  for (let attempt = 1; ; ) {
    const step = await rotation.advance(vault, isSending ? 'send' : 'approve', signal)
    if (signal.aborted) return step
    if (step.step === 'collecting') {
      // What another process has begun and left can be claimed after a while.
      const isWorth = (await finish()) || step.toSplit > 0
      if (!isWorth || performance.now() - started > SPLIT_MS) return step
    } else if ((step.step === 'unapproved' || step.step === 'refused') && attempt++ < ATTEMPTS) {
      console.error(`${describeStep(step)}; asking again`)
    } else return step
    await pause(AGAIN_MS, signal)
  }
}
