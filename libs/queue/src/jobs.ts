/** The jobs: a name and a payload of ids. Never a key, a share or a signature: what they are about is read from the database. */

import type { Static } from 'typebox'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'

const messageIds = Type.Object(
  {
    message_ids: Type.Array(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }), {
      minItems: 1,
      maxItems: 500,
      description: 'ids of messages',
    }),
  },
  { additionalProperties: false },
)

/** Payload schema by job name. Every handler is idempotent: it reads what is to be done and does nothing the second time. */
export const jobs = {
  /** Recover (and, of an exit, split) and store the messages that have enough partial signatures. */
  finish_messages: messageIds,
  /** Check the partial signatures that wait unverified. */
  verify_partials: messageIds,
} as const

export type JobName = keyof typeof jobs
export type JobPayload<Name extends JobName> = Static<(typeof jobs)[Name]>
type JobHandler<Name extends JobName> = (payload: JobPayload<Name>, signal: AbortSignal) => Promise<void>
export type JobHandlers = { [Name in JobName]?: JobHandler<Name> }

const validators = {
  finish_messages: Compile(jobs.finish_messages),
  verify_partials: Compile(jobs.verify_partials),
}

/** Whether this is the name of a job. */
export function isJobName(name: string): name is JobName {
  return Object.hasOwn(jobs, name)
}

/** Whether a value is a payload of this job. */
export function isJobPayload<Name extends JobName>(name: Name, value: unknown): value is JobPayload<Name> {
  return validators[name].Check(value)
}
