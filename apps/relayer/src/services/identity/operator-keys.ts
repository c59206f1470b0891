/**
 * The RSA keys of SSV operators, as their `OperatorAdded` has them: read by whoever follows the registrations, and looked up by whoever
 * answers requests.
 */

import type { ExecutionNode } from '@dvt-relayer/chain/execution/execution.ts'
import { readOperatorKeys } from '@dvt-relayer/chain/ssv/events.ts'
import type { SsvScope, SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { onOwnAccount } from '@dvt-relayer/common/account.ts'
import { operatorKeyFingerprint } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import { findOperatorKeys, storeOperatorKeys } from '@dvt-relayer/db/queries/attendance/node-keys.ts'
import type { Context } from '../../context.ts'

/** What another process has read is known here so much later. */
const FRESH_MS = 10_000
/** An operator whose key no node shows is looked for again after this time. */
const RETRY_MS = 3_600_000

/** Creates what stores the keys of operators that have validators of ours. */
export function createOperatorKeyReader({ db }: Pick<Context, 'db'>, { contract }: Pick<SsvScope, 'contract'>) {
  /** Fingerprints of what is stored, by operator id. */
  let stored: Map<number, string> | undefined
  const triedAt = new Map<number, number>()

  /** Operators of live registrations whose key is not stored, or is another than the registrations were read with. */
  function missing({ live, operators }: SsvState, now: number): Map<number, string> {
    const wanted = new Set([...live.values()].flatMap(({ data }) => data.shares.map(({ operatorId }) => operatorId)))
    return new Map(
      [...wanted].flatMap((id) => {
        const fingerprint = operators.get(id)
        const isDue = now - (triedAt.get(id) ?? -Infinity) >= RETRY_MS
        return fingerprint === undefined || stored?.get(id) === fingerprint || !isDue ? [] : [[id, fingerprint]]
      }),
    )
  }

  /** Reads the keys that are missing, and keeps those that have the fingerprint that the followed events gave their operator. */
  return async (node: ExecutionNode, state: SsvState, signal: AbortSignal): Promise<void> => {
    stored ??= new Map(
      (await findOperatorKeys(db)).map(({ operatorId, publicKey }) => [operatorId, operatorKeyFingerprint(publicKey)]),
    )
    const now = performance.now()
    const wanted = missing(state, now)
    if (wanted.size === 0) return
    const read = await readOperatorKeys(node, contract, [...wanted.keys()], state.nextBlock - 1, signal)
    const right = read.filter(({ operatorId, publicKey }) => {
      return operatorKeyFingerprint(publicKey) === wanted.get(operatorId)
    })
    await storeOperatorKeys(db, [...new Map(right.map((key) => [key.operatorId, key])).values()])
    for (const id of wanted.keys()) triedAt.set(id, now)
    for (const { operatorId, publicKey } of right) stored.set(operatorId, operatorKeyFingerprint(publicKey))
  }
}

/** Creates the look-up. */
export function createOperatorKeys({ db }: Pick<Context, 'db'>, now: () => number = () => performance.now()) {
  let known: { at: number; keys: Promise<Map<number, Buffer>> } | undefined

  function all(): Promise<Map<number, Buffer>> {
    if (known !== undefined && now() - known.at < FRESH_MS) return known.keys
    const keys = onOwnAccount(
      async () => new Map((await findOperatorKeys(db)).map(({ operatorId, publicKey }) => [operatorId, publicKey])),
    )
    const mine = { at: now(), keys }
    known = mine
    keys.catch(() => {
      if (known === mine) known = undefined
    })
    return keys
  }

  return {
    /** The key of an operator (SPKI, DER); undefined where it has no validator that is followed. */
    find: async (operatorId: number): Promise<Uint8Array | undefined> => (await all()).get(operatorId),
  }
}
export type OperatorKeys = ReturnType<typeof createOperatorKeys>
