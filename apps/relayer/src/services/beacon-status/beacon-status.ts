/**
 * Beacon status: which of the validators that oracles have shares of are on the beacon chain, and which of them have left, as its
 * finalized state says. What is final stays for ever, so what is noted is never changed; running this twice, or in two processes, does
 * nothing the second time.
 */

import type { ChainValidator } from '@dvt-relayer/chain/consensus/consensus.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { AskedRow } from '@dvt-relayer/db/queries/registered.ts'
import { findStaying, findUnregistered, markExited, markRegistered } from '@dvt-relayer/db/queries/registered.ts'
import { settleTallies } from '@dvt-relayer/db/settle-tallies.ts'
import type { Context } from '../../context.ts'
import { showAgain } from '../oracles/show-again.ts'

/** Validators in one request to the consensus node and one statement. */
const BATCH = 1000
/** How often those that are registered are looked at, for the ones that leave. */
const REFRESH_MS = 3_600_000

/** Creates the service. */
export function createBeaconStatus({ db, chain, events }: Pick<Context, 'db' | 'chain' | 'events'>) {
  let seenRoot: string | undefined
  let refreshedAt: number | undefined

  /** Notes the validators that the state has and the database does not know as registered. */
  const noteRegistered = (root: string, signal: AbortSignal) =>
    lookThrough(
      chain.registry,
      root,
      signal,
      (afterId) => findUnregistered(db, afterId, BATCH),
      async (found) => {
        const registered = found.map(({ row, validator }) => ({
          validatorId: row.id,
          beaconIndex: validator.index,
          vault: vaultOf(validator),
          hasLeft: hasLeft(validator),
        }))
        const marked = await db.transaction(async (tx) => {
          const noted = await markRegistered(tx, registered)
          await showAgain(tx, noted)
          return noted
        })
        if (marked.length > 0) events.validatorsRegistered(marked.length)
      },
    )

  /** Notes the registered validators that have left, and tells of an index that is another one than was noted. */
  const noteExited = (root: string, signal: AbortSignal) =>
    lookThrough(
      chain.registry,
      root,
      signal,
      (afterId) => findStaying(db, afterId, BATCH),
      async (found) => {
        const same = found.filter(({ row, validator }) => validator.index === row.beaconIndex)
        for (const { row, validator } of found)
          if (validator.index !== row.beaconIndex) events.registrationDisagrees(row.beaconIndex, validator.index)
        const left = same.filter(({ validator }) => hasLeft(validator)).map(({ row }) => row.id)
        const marked = await markExited(db, left)
        if (marked > 0) events.validatorsExited(marked)
      },
    )

  return {
    /**
     * Looks once: at what is new in the finalized state, which changes once an epoch, and now and then at who has left. Returns whether
     * that state was a new one.
     *
     * @throws {ChainError | HttpError} when the consensus node is away or does not vouch for its finalized state: nothing is noted then
     */
    async look(signal: AbortSignal): Promise<boolean> {
      const root = await chain.registry.finalizedRoot()
      // After much at once, the next look asks for all.
      if (root === seenRoot || !(await settleTallies(db))) return false
      await noteRegistered(root, signal)
      if (refreshedAt === undefined || performance.now() - refreshedAt > REFRESH_MS) {
        await noteExited(root, signal)
        refreshedAt = performance.now()
      }
      seenRoot = root
      return true
    },
  }
}

/** Every validator that `find` gives and the state has, batch by batch. */
async function lookThrough<Row extends AskedRow>(
  registry: Context['chain']['registry'],
  root: string,
  signal: AbortSignal,
  find: (afterId: number) => Promise<Row[]>,
  take: (found: { row: Row; validator: ChainValidator }[]) => Promise<void>,
): Promise<void> {
  for (let afterId = 0; ; ) {
    const asked = await find(afterId)
    const last = asked.at(-1)
    if (last === undefined) return
    const found = await registry.findFinalized(
      asked.map((row) => row.publicKey),
      root,
    )
    signal.throwIfAborted()
    await take(
      asked.flatMap((row) => {
        const validator = found.get(toHex(row.publicKey))
        return validator === undefined ? [] : [{ row, validator }]
      }),
    )
    if (asked.length < BATCH) return
    afterId = last.id
  }
}

/** Whether a validator has left the active set, or is on its way out: nobody needs shares of its exit any more. */
export const hasLeft = ({ status }: ChainValidator): boolean =>
  /^(active_exiting|active_slashed|exited_.*|withdrawal_.*)$/.test(status)

/** The address in withdrawal credentials of type 0x01 and 0x02: the last 20 bytes after 11 zero bytes (docs/protocol.md#3-messages). */
export function vaultOf({ withdrawalCredentials }: ChainValidator): Uint8Array | undefined {
  return /^0x0[12]0{22}/.test(withdrawalCredentials) ? fromHex(withdrawalCredentials, 32).subarray(12) : undefined
}
