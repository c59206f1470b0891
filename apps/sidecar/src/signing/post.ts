/** Posts a batch of signatures and reads what the relayer says of it. */

import type { SharesResponse } from '@dvt-relayer/api/schemas.ts'
import { isTooLarge } from '@dvt-relayer/client/split-posts.ts'
import { HttpError } from '@dvt-relayer/common/http/client.ts'
import type { ListName } from '../config.ts'
import { countKinds, type SignedJob } from '../lists/work-entry.ts'
import type { SigningParts } from './parts.ts'

type PostParts = Pick<SigningParts, 'relayer' | 'workLists' | 'events'>

/**
 * Posts the signatures of one share index. Whatever comes of it, its entries come up again no sooner than after a poll interval; but for
 * `too_large`, of more than one: then nothing has come of it yet.
 */
export async function postBatch(
  parts: PostParts,
  list: ListName,
  shareIndex: number,
  batch: readonly SignedJob[],
  signal: AbortSignal,
): Promise<'taken' | 'refused' | 'unreachable' | 'too_large'> {
  const { events } = parts
  const workList = parts.workLists[list]
  try {
    const answer = await send(parts, list, shareIndex, batch, signal)
    const failures = readFailures(answer, batch)
    tellFailures(parts, list, shareIndex, failures)
    const taken = batch.filter((job) => !failures.codes.has(job))
    const firstTime = taken.filter(({ entry }) => entry.postedAt === undefined).length
    events.signaturesPosted(list, shareIndex, countKinds(taken), firstTime)
    const now = performance.now()
    for (const job of taken) workList.posted(job, now)
    return 'taken'
  } catch (error) {
    if (signal.aborted) return 'unreachable'
    if (isTooLarge(error) && batch.length > 1) return 'too_large'
    const now = performance.now()
    for (const job of batch) workList.defer(job, now, 1)
    events.postFailed(error, list, shareIndex, batch.length)
    const isAnswer = error instanceof HttpError && error.code === 'HTTP_STATUS'
    return isAnswer ? 'refused' : 'unreachable'
  }
}

/** What a post says of a job. */
export const shareOf = (list: ListName, job: SignedJob) => (list === 'exits' ? exitOf(job) : pairOf(job))

const exitOf = ({ keyShare, signatures }: SignedJob) => ({
  public_key: keyShare.validatorPublicKey,
  exit_signature: signatures.exit,
})

const pairOf = ({ keyShare, signatures }: SignedJob) => ({
  public_key: keyShare.validatorPublicKey,
  exit_signature: signatures.exit,
  deposit_signature: signatures.deposit ?? '',
  public_key_shares: [...keyShare.publicKeyShares],
})

/**
 * Exits alone go to `POST /exit-signature`, exits with deposits to `POST /signatures` (docs/protocol.md#8-generation-3,
 * docs/protocol.md#9-generation-4).
 */
function send(
  { relayer }: PostParts,
  list: ListName,
  shareIndex: number,
  batch: readonly SignedJob[],
  signal: AbortSignal,
): Promise<SharesResponse> {
  return list === 'exits'
    ? relayer.postExitSignature({ share_index: shareIndex, shares: batch.map(exitOf) }, signal)
    : relayer.postSignatures({ share_index: shareIndex, shares: batch.map(pairOf) }, signal)
}

/** What the relayer rejects of a batch: a code for each job, and which of its signatures are wrong. */
interface Failures {
  readonly codes: ReadonlyMap<SignedJob, string>
  readonly exits: ReadonlySet<SignedJob>
  readonly deposits: ReadonlySet<SignedJob>
}

function readFailures({ failures = [] }: SharesResponse, batch: readonly SignedJob[]): Failures {
  const codes = new Map<SignedJob, string>()
  const exits = new Set<SignedJob>()
  const deposits = new Set<SignedJob>()
  for (const { index, code, kind } of failures) {
    const job = batch[index]
    if (job === undefined) continue
    // A code is a word of the relayer's: nothing else of its text reaches the log.
    if (!codes.has(job)) codes.set(job, /^[A-Z][A-Z0-9_]{0,39}$/.test(code) ? code : 'OTHER')
    if (kind !== 'deposit') exits.add(job)
    if (kind !== 'exit' && job.signatures.deposit !== undefined) deposits.add(job)
  }
  return { codes, exits, deposits }
}

/** Ends the jobs that were rejected, and tells of each once for each code and what was wanted. */
function tellFailures(
  { workLists, events }: PostParts,
  list: ListName,
  shareIndex: number,
  { codes, exits, deposits }: Failures,
): void {
  if (codes.size === 0) return
  const now = performance.now()
  const news = [...codes].filter(([job, code]) => workLists[list].rejected(job, code, now))
  events.signaturesRejected({ exit: exits.size, deposit: deposits.size })
  for (const [code, group] of Map.groupBy(news, ([, said]) => said))
    events.rejectionSeen(
      list,
      code,
      shareIndex,
      group.map(([{ wanted }]) => wanted.validatorIndex),
    )
}
