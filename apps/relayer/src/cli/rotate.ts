/**
 * `npm run relayer -- rotate`: one rotation by hand, beside a running relayer or without one. It takes the same lock, does the same
 * steps, and finishes splits itself; what the nodes must sign needs a running relayer, which they post to.
 */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { findReceipt } from '@dvt-relayer/chain/execution/transaction.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { equalBytes, toHex } from '@dvt-relayer/common/hex.ts'
import { Lifetime, pause } from '@dvt-relayer/common/lifetime.ts'
import { createLogger } from '@dvt-relayer/common/logger.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { checksumAddress, parseAddress } from '@dvt-relayer/crypto/address.ts'
import { DatabaseError } from '@dvt-relayer/db/errors.ts'
import { claimFinishable } from '@dvt-relayer/db/queries/messages/partial-signatures.ts'
import { hasClaimedExits } from '@dvt-relayer/db/queries/rotations.ts'
import { createChain } from '../chain.ts'
import { type RelayerConfig, readConfig } from '../config.ts'
import { startCryptoPool } from '../crypto-workers/pool.ts'
import { createEvents } from '../events.ts'
import { openDatabase } from '../open.ts'
import { ROTATION_REQUESTER } from '../services/exits/assign.ts'
import { createOracleSets } from '../services/oracles/sets.ts'
import { createOracleShares, type OracleShares } from '../services/oracles/shares.ts'
import type { RotationExit } from '../services/rotation/exits.ts'
import { createRotation, type Rotation } from '../services/rotation/rotation.ts'
import { describeStep, type Step } from '../services/rotation/steps.ts'
import { openRotationWallet } from '../services/rotation/transaction.ts'
import { openSealing } from '../services/sealing/sealing.ts'

const USAGE = 'usage: npm run relayer -- rotate --vault 0x… [--dry-run | --send]'
/** Splits take milliseconds each; those that another process has begun and left take a while. */
const SPLIT_MS = 40_000
const SPLIT_AT_ONCE = 16
/** How often the oracles are asked for approvals that are too few. */
const ATTEMPTS = 3
const AGAIN_MS = 1_000
/** A transaction is looked for until it cannot be mined any more, and a little longer. */
const MINED_MS = 300_000

const IN_WORDS: Readonly<Record<RotationExit['state'], string>> = {
  ready: 'its exit is split for these oracles',
  kept: 'its exit is kept, and would be split',
  collecting: 'its exit would be collected from the sidecars',
}

/** Runs the command. Returns an exit code: 0 also where nothing is to be done. */
export async function rotate(
  args: readonly string[],
  environment: Environment,
  onSignal: (stop: () => void) => void,
): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      vault: { type: 'string', default: '' },
      'dry-run': { type: 'boolean', default: false },
      send: { type: 'boolean', default: false },
    },
  })
  const { config } = readConfig(environment)
  const vault = vaultOf(values.vault, config)
  if (values['dry-run'] && values.send) throw new BootError('USAGE', `--dry-run sends nothing\n\n${USAGE}`)
  const wallet = values.send ? await openRotationWallet(config) : undefined
  if (values.send && wallet === undefined)
    throw new BootError('USAGE', `--send needs ROTATION_WALLET_KEY_FILE and ROTATION_WALLET_PASSWORD_FILE\n\n${USAGE}`)
  const stop = new AbortController()
  onSignal(() => stop.abort())
  // Standard output is the transaction's.
  const logger = createLogger({ ...config.log, destination: process.stderr })
  await using lifetime = new Lifetime(logger)
  const db = await open(config, logger, lifetime, values['dry-run'] ? 'read' : 'write')
  const events = createEvents(logger)
  const crypto = lifetime.use('signature workers', startCryptoPool())
  const chain = createChain(config, crypto, events, logger)
  await chain.execution.checkChain()
  await chain.consensus.checkChain()
  const rotation = createRotation({ config, db, chain, events }, wallet)
  if (values['dry-run']) return explain(vault, await rotation.plan(vault, stop.signal))

  const problem = await createOracleSets({ db, chain, events }).follow()
  if (problem !== undefined) console.error(`WARNING: ${problem}`)
  const sealing = await openSealing(config, db, logger)
  const oracleShares = createOracleShares({ db, crypto, sealing, events, logger })
  const step = await carryOn(rotation, vault, values.send, stop.signal, async () => split(db, oracleShares))
  if (step.step === 'approved') {
    const { data, deadline, nonce, ipfsHash, validators } = step.update
    const to = checksumAddress(config.network.keeper)
    const keys = validators.map(({ publicKey, validatorIndex }) => ({
      public_key: toHex(publicKey),
      validator_index: validatorIndex,
    }))
    console.log(JSON.stringify({ to, data, deadline, nonce, validators: keys, ipfs_hash: ipfsHash }, undefined, 2))
    return 0
  }
  if (step.step === 'sent' && step.transactionHash !== undefined)
    return await followTransaction(chain, step.transactionHash, stop.signal)
  console.log(describeStep(step))
  if (step.step === 'collecting')
    console.log('sidecars post to a running relayer: let one run with this database, and run this again')
  return step.step === 'nothing' || step.step === 'sent' ? 0 : 1
}

function vaultOf(text: string, { vaults }: RelayerConfig): Uint8Array {
  const vault = parseAddress(text)
  if (vault === undefined) throw new BootError('USAGE', `--vault must be the address of a vault\n\n${USAGE}`)
  if (vaults !== undefined && !vaults.some((known) => equalBytes(known, vault)))
    throw new BootError('VAULT_UNKNOWN', `${checksumAddress(vault)} is not one of VAULTS`)
  return vault
}

async function open(
  config: RelayerConfig,
  logger: ReturnType<typeof createLogger>,
  lifetime: Lifetime,
  access: 'read' | 'write',
) {
  const { databaseUrl, dataDir } = config.storage
  // A first start of the embedded PostgreSQL would make an empty one.
  if (databaseUrl === undefined && !existsSync(join(dataDir, 'postgres')))
    throw new BootError(
      'DATABASE_MISSING',
      `there is no database of a relayer in DATA_DIR ${dataDir}: run this with the DATABASE_URL or DATA_DIR of the relayer`,
    )
  try {
    return (await openDatabase(config, logger, lifetime, access)).db
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.code !== 'DATA_DIR_IN_USE') throw error
    throw new BootError(
      'DATA_DIR_IN_USE',
      `${error.message}. That relayer can do it as well: POST /vaults/{vault}/rotation gives the transaction, and ROTATION=on with a wallet does all`,
      { cause: error },
    )
  }
}

/** Finishes what can be finished here; returns whether there was anything, or another process is at it. */
async function split(db: Parameters<typeof claimFinishable>[0], oracleShares: OracleShares): Promise<boolean> {
  for (let round = 0; ; round++) {
    const ids = await claimFinishable(db, null, SPLIT_AT_ONCE)
    if (ids.length === 0) return round > 0 || (await hasClaimedExits(db, ROTATION_REQUESTER))
    await oracleShares.finish(ids)
  }
}

/** Goes on until nothing more can be done here. */
async function carryOn(
  rotation: Rotation,
  vault: Uint8Array,
  send: boolean,
  signal: AbortSignal,
  finish: () => Promise<boolean>,
): Promise<Step> {
  const started = performance.now()
  for (let attempt = 1; ; ) {
    const step = await rotation.advance(vault, send ? 'send' : 'approve', signal)
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

/** Says what would be done. */
function explain(vault: Uint8Array, { step, batch, leftOut }: Awaited<ReturnType<Rotation['plan']>>): number {
  console.log(`vault ${checksumAddress(vault)}, nothing is changed`)
  if (step !== undefined) {
    console.log(describeStep(step))
    return step.step === 'nothing' || step.step === 'sent' || step.step === 'open' ? 0 : 1
  }
  console.log(`${batch.length} validators would be handed in with the next update:`)
  for (const { publicKey, validatorIndex, state } of batch)
    console.log(`  ${validatorIndex} ${toHex(publicKey)}: ${IN_WORDS[state]}`)
  if (leftOut > 0)
    console.log(`${leftOut} more that the oracles name are left out: they are not ours, not active, or not final`)
  return 0
}

/** Waits until a transaction is in a block. */
async function followTransaction(
  chain: ReturnType<typeof createChain>,
  hash: Uint8Array,
  signal: AbortSignal,
): Promise<number> {
  console.log(`transaction ${toHex(hash)} is sent`)
  const end = performance.now() + MINED_MS
  while (performance.now() < end && !signal.aborted) {
    const receipt = await findReceipt(chain.execution, hash, signal)
    if (receipt !== undefined) {
      console.log(
        receipt.ok
          ? `it is in block ${receipt.blockNumber}; once that is final, a running relayer or the next run of this command notes it`
          : `it was refused in block ${receipt.blockNumber}; run this again`,
      )
      return receipt.ok ? 0 : 1
    }
    await pause(AGAIN_MS, signal)
  }
  console.log('it is in no block yet; run this again, which sends it again or makes a new one')
  return 1
}
