import { SignerError } from '../../../apps/sidecar/src/keystores/remote/error.ts'

/** The fault of a signer that a question ends with; undefined where it ends well. */
export async function faultOf(question: Promise<unknown>): Promise<string | undefined> {
  try {
    await question
    return undefined
  } catch (error) {
    if (error instanceof SignerError) return error.fault
    throw error
  }
}
