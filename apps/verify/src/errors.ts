/** What keeps the program from a verdict. Messages name files and fields, never what stands in them. */

import { CodedError } from '@dvt-relayer/common/errors.ts'

/** `usage`: the command line is wrong; `unreadable`: a file cannot be read, or is not what it should be. */
export type InputErrorCode = 'usage' | 'unreadable'

/** No verdict: exit code 2. */
export class InputError extends CodedError<InputErrorCode> {}

/** The error of a wrong command line. */
export const usage = (message: string): InputError => new InputError('usage', message)

/** The error of a file that is not what it should be. */
export const unreadable = (message: string): InputError => new InputError('unreadable', message)
