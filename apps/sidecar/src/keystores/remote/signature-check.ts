/** Verifies signatures of remote signers as they come in, several at once, without holding the event loop for long. */

import type { BlsEngine, SignedMessage } from '@dvt-relayer/crypto/bls/bls.ts'

/** About 15 ms of verifying between two looks at the event loop. */
const SLICE = 32
/** One signature alone costs twice as much as among others: each waits this long for more. */
const GATHER_MS = 4

/** Creates a check: what comes in at about the same time is verified together. */
export function createSignatureCheck(
  engine: Pick<BlsEngine, 'verifyBatch'>,
): (triple: SignedMessage) => Promise<boolean> {
  const waiting: { triple: SignedMessage; done(isRight: boolean): void; failed(error: unknown): void }[] = []

  let timer: NodeJS.Timeout | undefined

  function verifySome(): void {
    clearTimeout(timer)
    timer = undefined
    const slice = waiting.splice(0, SLICE)
    try {
      const verdicts = engine.verifyBatch(slice.map(({ triple }) => triple))
      for (const [position, { done }] of slice.entries()) done(verdicts[position] === true)
    } catch (error) {
      for (const { failed } of slice) failed(error)
    }
    if (waiting.length > 0) schedule()
  }

  /** Not before what has arrived meanwhile is looked at. */
  function schedule(): void {
    timer ??= setTimeout(verifySome, GATHER_MS)
    if (waiting.length === SLICE) setImmediate(verifySome)
  }

  return (triple) =>
    new Promise((done, failed) => {
      waiting.push({ triple, done, failed })
      schedule()
    })
}
