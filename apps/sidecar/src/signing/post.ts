/** Posts a batch of signatures and reads what the relayer says of it. */

import type { SharesResponse } from '@dvt-relayer/api/schemas.ts'
import { HttpError } from '@dvt-relayer/common/http-client.ts'
import type { Context } from '../context.ts'
import type { ListName } from '../lists/lists.ts'
import { countKinds, isCurrent, type SignedJob } from './job.ts'

/** What the relayer rejected is posted again after this many poll intervals. */
const REJECTED_INTERVALS = 5

type PostContext = Pick<Context, 'config' | 'relayer' | 'events'>

/** Posts the signatures of one share index. Whatever comes of it, its entries come up again no sooner than after a poll interval. */
export async function postBatch(
  context: PostContext,
  list: ListName,
  shareIndex: number,
  batch: readonly SignedJob[],
  signal: AbortSignal,
): Promise<'taken' | 'refused' | 'unreachable'> {
  const { config, events } = context
  try {
    const answer = await send(context, list, shareIndex, batch, signal)
    const rejected = noteRejections(answer, list, batch, shareIndex, events)
    const taken = batch.filter((job) => !rejected.has(job))
    const firstTime = taken.filter(({ entry }) => entry.postedAt === undefined).length
    events.signaturesPosted(list, shareIndex, countKinds(taken), firstTime)
    const now = performance.now()
    for (const job of batch) if (isCurrent(job)) job.entry.postedAt = now
    for (const { entry } of rejected) entry.notBefore = now + REJECTED_INTERVALS * config.relayer.pollIntervalMs
    return 'taken'
  } catch (error) {
    if (signal.aborted) return 'unreachable'
    const notBefore = performance.now() + config.relayer.pollIntervalMs
    for (const { entry } of batch) entry.notBefore = Math.max(entry.notBefore, notBefore)
    events.postFailed(error, list, shareIndex, batch.length)
    const isAnswer = error instanceof HttpError && error.code === 'HTTP_STATUS'
    return isAnswer ? 'refused' : 'unreachable'
  }
}

/**
 * Exits alone go to `POST /exit-signature`, exits with deposits to `POST /signatures` (docs/protocol.md#8-generation-3,
 * docs/protocol.md#9-generation-4).
 */
function send(
  { relayer }: PostContext,
  list: ListName,
  shareIndex: number,
  batch: readonly SignedJob[],
  signal: AbortSignal,
): Promise<SharesResponse> {
  if (list === 'exits') {
    const shares = batch.map(({ keyShare, signatures }) => ({
      public_key: keyShare.validatorPublicKey,
      exit_signature: signatures.exit,
    }))
    return relayer.postExitSignature({ share_index: shareIndex, shares }, signal)
  }
  const shares = batch.map(({ keyShare, signatures }) => ({
    public_key: keyShare.validatorPublicKey,
    exit_signature: signatures.exit,
    deposit_signature: signatures.deposit ?? '',
    public_key_shares: [...keyShare.publicKeyShares],
  }))
  return relayer.postSignatures({ share_index: shareIndex, shares }, signal)
}

/** Remembers and, once for each code and what was wanted, tells what the relayer rejected. Returns those jobs. */
function noteRejections(
  { failures = [] }: SharesResponse,
  list: ListName,
  batch: readonly SignedJob[],
  shareIndex: number,
  events: PostContext['events'],
): Set<SignedJob> {
  const rejected = new Map<SignedJob, string>()
  const wrong = { exit: new Set<SignedJob>(), deposit: new Set<SignedJob>() }
  for (const { index, code, kind } of failures) {
    const job = batch[index]
    if (job === undefined) continue
    // A code is a word of the relayer's: nothing else of its text reaches the log.
    if (!rejected.has(job)) rejected.set(job, /^[A-Z][A-Z0-9_]{0,39}$/.test(code) ? code : 'OTHER')
    if (kind !== 'deposit') wrong.exit.add(job)
    if (kind !== 'exit' && job.signatures.deposit !== undefined) wrong.deposit.add(job)
  }
  const news = [...rejected].filter(([job, code]) => isCurrent(job) && job.entry.warned !== code)
  for (const [{ entry }, code] of news) entry.warned = code
  if (rejected.size > 0) events.signaturesRejected({ exit: wrong.exit.size, deposit: wrong.deposit.size })
  for (const [code, group] of Map.groupBy(news, ([, said]) => said))
    events.rejectionSeen(
      list,
      code,
      shareIndex,
      group.map(([{ wanted }]) => wanted.validatorIndex),
    )
  return new Set(rejected.keys())
}
