/** An operator that asks again whatever the outage, as Operator 4.2 does at every block; a refusal ends it. */

import { eventually } from '../world/world.ts'
import { isReady, type RegisterAnswer, type RegisterRequest, register } from './operator.ts'
import { OperatorFailure } from './operator-http.ts'

/** More than any single step takes, processes that start on a busy machine included. */
export const PATIENCE_MS = 240_000

/** The first answer there is. @throws {OperatorFailure} when it is a refusal */
export function untilAnswered(url: string, request: RegisterRequest): Promise<RegisterAnswer> {
  return eventually('an answer to a registration', () => askOnce(url, request), PATIENCE_MS)
}

/** The first complete answer. @throws {OperatorFailure} when it is a refusal */
export function untilComplete(url: string, request: RegisterRequest): Promise<RegisterAnswer> {
  return eventually(
    'a complete answer to a registration',
    async () => {
      const answer = await askOnce(url, request)
      return answer !== undefined && isReady(answer) ? answer : undefined
    },
    PATIENCE_MS,
  )
}

/** One question; undefined where the relayer, or what it needs, is away. */
async function askOnce(url: string, request: RegisterRequest): Promise<RegisterAnswer | undefined> {
  try {
    return await register(url, request)
  } catch (error) {
    if (error instanceof OperatorFailure && (error.status === undefined || error.status >= 500)) return undefined
    throw error
  }
}
