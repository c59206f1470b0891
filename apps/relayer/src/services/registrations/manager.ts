/**
 * The validators-manager key at work (generation 4): what it signs is recorded first, and only within the daily limit.
 *
 * It is the most dangerous key in the house: callers have checked who asks, the vault, and every validator.
 */

import { createHash } from 'node:crypto'
import type { ManagerWallet } from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import {
  createManagerWallet,
  inCanonicalOrder,
  managerDigest,
} from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { createRate } from '@dvt-relayer/common/flow/rate.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { ManagerAction } from '@dvt-relayer/db/queries/manager-signatures.ts'
import {
  insertManagerSignature,
  isRecorded,
  lockVaultLimit,
  sumMoved,
} from '@dvt-relayer/db/queries/manager-signatures.ts'
import type { RelayerConfig } from '../../config.ts'
import type { Context } from '../../context.ts'
import { ApiError } from '../../errors.ts'
import { openKey } from './wallet-key.ts'

const DAY_SECONDS = 86_400
/**
 * New records of one requester for one vault. An Operator asks for one signature of each of four actions in a block, at most 48 a minute on
 * the quickest chain, and what it asks for again is no new record. One for more than `PER_RECORD` validators counts as several: a
 * record has some 200 bytes for each, so that a day's are 800 MB at most.
 */
const RECORDS = { burst: 240, perSecond: 1, most: 10_000 }
const PER_RECORD = 50
/** Signatures kept in memory. */
const KEPT = 64

/** Who asked, in the record, where no tokens are set. No token may be named so. */
export const NOBODY = 'anybody'

/** The wallet of the settings, if there is one. @throws {BootError} MANAGER_KEY_INVALID */
export async function openWallet(config: Pick<RelayerConfig, 'manager'>): Promise<ManagerWallet | undefined> {
  if (config.manager === undefined) return undefined
  const settings = {
    key: 'VALIDATORS_MANAGER_KEY_FILE',
    password: 'VALIDATORS_MANAGER_PASSWORD_FILE',
    code: 'MANAGER_KEY_INVALID',
  }
  return openKey(config.manager, settings, (key) => createManagerWallet(key))
}

/** What is to be signed, checked by the caller. */
interface ManagerRequest {
  action: ManagerAction
  vault: Uint8Array
  /** Name of the token; null where no tokens are set. */
  requester: string | null
  /** Of the block that everything was checked at: deposit root or nonce. */
  registryRoot: Uint8Array
  validators: Uint8Array
  validatorCount: number
  /** What it moves; counted against the limit unless it is a registration. */
  amountGwei: bigint
}

/** Creates the service. `nowMs` is a monotonic clock. */
export function createManager(
  { config, db, wallet, events }: Pick<Context, 'config' | 'db' | 'wallet' | 'events'>,
  nowMs: () => number = () => performance.now(),
) {
  const limit = config.managerDailyLimitGwei === undefined ? undefined : BigInt(config.managerDailyLimitGwei)
  /** Signatures of registrations whose record is committed: an operator polls each of them until its transaction is in a block. */
  const recorded = new Map<string, Uint8Array>()
  const rate = createRate(RECORDS)

  function keep(record: string, signature: Uint8Array): void {
    const oldest = recorded.size >= KEPT ? recorded.keys().next() : undefined
    if (oldest !== undefined && oldest.done !== true) recorded.delete(oldest.value)
    recorded.set(record, signature)
  }

  return {
    /** The manager's address, checksummed; null without a wallet. */
    address: wallet?.address ?? null,

    /** @throws {ApiError} MANAGER_MISSING without a wallet */
    assertWallet(): void {
      assertWallet(wallet)
    },

    /**
     * Signs the validators in the order they are given: 65 bytes `r ++ s ++ v`. The record is committed before the signature is made, so
     * none leaves without one; it is the same for every order, because under one root the vault takes one of them.
     *
     * @throws {ApiError} MANAGER_MISSING, DAILY_LIMIT, RATE_LIMIT
     */
    async sign(request: ManagerRequest): Promise<Uint8Array> {
      assertWallet(wallet)
      const { vault, registryRoot, validators, validatorCount, action } = request
      const requester = request.requester ?? NOBODY
      const record = recordOf(request, requester)
      const again = recorded.get(record)
      if (again !== undefined) return again
      const message = { chainId: config.network.chainId, vault, validatorsRegistryRoot: registryRoot, validators }
      const canonical = { ...message, validators: inCanonicalOrder(validators, validatorCount) }
      const digest = await managerDigest(canonical)
      const [bucket, cost] = [`${requester} ${toHex(vault)}`, Math.ceil(validatorCount / PER_RECORD)]
      const waitSeconds = rate.take(bucket, cost, nowMs())
      const outcome = await db.transaction(async (tx) => {
        if (limit !== undefined && action !== 'register') {
          await lockVaultLimit(tx, vault)
          const moved = await sumMoved(tx, vault, digest, DAY_SECONDS)
          if (moved + request.amountGwei > limit)
            throw new ApiError(
              'DAILY_LIMIT',
              `signatures of the last 24 hours move ${moved} Gwei of this vault; ${request.amountGwei} more are over MANAGER_DAILY_LIMIT_GWEI=${limit}`,
            )
        }
        if (waitSeconds > 0 && (await isRecorded(tx, digest, requester))) return 'exists'
        if (waitSeconds > 0) throw tooMany(waitSeconds)
        return insertManagerSignature(tx, { ...request, requester, validators: canonical.validators, digest })
      })
      if (outcome === 'exists' && waitSeconds === 0) rate.give(bucket, cost)
      const { signature } = await wallet.sign(message)
      if (outcome === 'inserted') events.managerSigned(action, vault, validatorCount, request.requester)
      if (action === 'register') keep(record, signature)
      return signature
    },
  }
}
export type Manager = ReturnType<typeof createManager>

function assertWallet(wallet: ManagerWallet | undefined): asserts wallet is ManagerWallet {
  if (wallet === undefined)
    throw new ApiError(
      'MANAGER_MISSING',
      'this relayer has no validators-manager key: set VALIDATORS_MANAGER_KEY_FILE and VALIDATORS_MANAGER_PASSWORD_FILE',
    )
}

/** Names what is asked for by this requester today. Not by the digest that is signed: its Keccak costs a poll more than all else. */
function recordOf({ vault, registryRoot, validators }: ManagerRequest, requester: string): string {
  const day = new Date().toISOString().slice(0, 'yyyy-mm-dd'.length)
  const said = [toHex(vault), toHex(registryRoot), toHex(validators), day, requester].join()
  return createHash('sha256').update(said).digest('base64')
}

const tooMany = (seconds: number) =>
  new ApiError(
    'RATE_LIMIT',
    `more new signatures of the manager for this vault than one a second; ask again in ${Math.ceil(seconds)} s`,
    { retryAfterSeconds: seconds },
  )
