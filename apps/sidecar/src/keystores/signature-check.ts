/** Verifies signatures of remote signers as they come in, several at once, without holding the event loop for long. */

import type { BlsEngine, SignedMessage } from '@dvt-relayer/crypto/bls.ts'

/** About 8 ms of verifying between two looks at the event loop. */
const SLICE = 16

/** Creates a check: what comes in until the event loop turns is verified together. */
export function createSignatureCheck(
  engine: Pick<BlsEngine, 'verifyBatch'>,
): (triple: SignedMessage) => Promise<boolean> {
  const waiting: { triple: SignedMessage; done(isRight: boolean): void; failed(error: unknown): void }[] = []

  function verifySome(): void {
    const slice = waiting.splice(0, SLICE)
    try {
      const verdicts = engine.verifyBatch(slice.map(({ triple }) => triple))
      for (const [place, { done }] of slice.entries()) done(verdicts[place] === true)
    } catch (error) {
      for (const { failed } of slice) failed(error)
    }
    if (waiting.length > 0) setImmediate(verifySome)
  }

  return (triple) =>
    new Promise((done, failed) => {
      if (waiting.push({ triple, done, failed }) === 1) setImmediate(verifySome)
    })
}
