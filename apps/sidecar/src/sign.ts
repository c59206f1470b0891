/** Makes the signatures of a batch, a slice at a time, so that the event loop stays free. */

import { setImmediate } from 'node:timers/promises'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { Signatures } from './book.ts'
import type { Context } from './context.ts'
import { countKinds, isCurrent, type Job, type SignedJob } from './job.ts'

/** About 4 ms of signing between two looks at the event loop. */
const SLICE = 8

type SignContext = Pick<Context, 'policy'> & {
  readonly keystore: Pick<Context['keystore'], 'sign'>
  readonly events: Pick<Context['events'], 'signed'>
}

/** Signs what has no signatures yet. What the list wants no more is left out. */
export async function signBatch(
  context: SignContext,
  batch: readonly Job[],
  signal: AbortSignal,
): Promise<SignedJob[]> {
  const signed: SignedJob[] = []
  const made: Job[] = []
  let sinceBreak = 0
  for (const job of batch) {
    const { entry, wanted } = job
    if (signal.aborted) return []
    if (!isCurrent(job) || !entry.isListed) continue
    if (entry.signatures === undefined) {
      // A signer may fail or be slow for one key share alone: this is where such a job is left out.
      const signatures = await sign(context, job, signal)
      made.push(job)
      entry.triedAt = performance.now()
      sinceBreak += wanted.deposit === undefined ? 1 : 2
      if (sinceBreak >= SLICE) {
        sinceBreak = 0
        await setImmediate()
      }
      if (!isCurrent(job)) continue
      entry.signatures = signatures
    }
    signed.push({ ...job, signatures: entry.signatures })
  }
  if (made.length > 0) context.events.signed(countKinds(made))
  return signed
}

/** The exit, and the deposit where one is wanted. */
async function sign(
  { keystore, policy }: SignContext,
  { keyShare, wanted }: Job,
  signal: AbortSignal,
): Promise<Signatures> {
  const exit = toHex(await keystore.sign({ ...policy.exit(wanted.validatorIndex), keyShare }, signal))
  if (wanted.deposit === undefined) return { exit }
  const deposit = policy.deposit(keyShare.validatorPublicKey, wanted.deposit)
  return { exit, deposit: toHex(await keystore.sign({ ...deposit, keyShare }, signal)) }
}
