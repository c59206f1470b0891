/** What an answer says of a request, or of one item of it, that was refused. */

import type { Static } from 'typebox'
import { Type } from 'typebox'
import { safeInteger } from './fields.ts'

/** What failed in a batch: the position of the item, why, in a code and in words. */
export const Failure = Type.Object({
  index: safeInteger(0, 'position of the item in the request, from 0'),
  code: Type.String(),
  message: Type.String(),
  kind: Type.Optional(
    Type.Union([Type.Literal('exit'), Type.Literal('deposit')], {
      description: 'which signature of the item, where it brings two',
    }),
  ),
})
export type Failure = Static<typeof Failure>

/** Every error answer. */
export const ErrorResponse = Type.Object({
  code: Type.String({ description: 'what programs act on; see the table of errors' }),
  message: Type.String({ description: 'what is wrong and what to do' }),
  request_id: Type.String({ description: 'stands in the log as well' }),
  failures: Type.Optional(Type.Array(Failure)),
})
export type ErrorResponse = Static<typeof ErrorResponse>
