/** What a relayer says of partial signatures that were posted, for those who post them item by item: our sidecar, and the commands for bundles. */

import { SharesResponse } from '@dvt-relayer/api/schemas.ts'
import { type HttpAnswer, HttpError, parseAnswer } from '@dvt-relayer/common/http/client.ts'
import { Compile } from 'typebox/compile'

const sharesCheck = Compile(SharesResponse)

/** Whether a post that is answered with this status may have a verdict: of a 422 only {@link readVerdict} can tell. */
export const isVerdict = (status: number): boolean => (status >= 200 && status < 300) || status === 422

/**
 * The body of an answer to a post. A 2xx is good whatever its body; a 422 is an answer only where it says which items failed.
 *
 * @throws {HttpError} HTTP_STATUS
 */
export async function readVerdict(path: string, answer: HttpAnswer): Promise<unknown> {
  const { status, host } = answer
  const value = await parseIfJson(answer)
  if (status !== 422) return value
  if (sharesCheck.Check(value) && value.failures !== undefined && value.failures.length > 0) return value
  throw new HttpError('HTTP_STATUS', host, `POST ${path} at ${host} answers with status 422`, { status })
}

async function parseIfJson(answer: HttpAnswer): Promise<unknown> {
  try {
    return await parseAnswer(answer)
  } catch {
    return undefined
  }
}
