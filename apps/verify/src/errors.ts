/** What keeps the program from a verdict. Messages name files and fields, never what stands in them. */

import { CodedError } from '@dvt-relayer/common/errors.ts'

/** `usage`: the command line is wrong; `unreadable`: a file cannot be read, or is not what it should be. */
export type InputErrorCode = 'usage' | 'unreadable'

/** No verdict: exit code 2. */
export class InputError extends CodedError<InputErrorCode> {}

/** A key or a share in the place of a file's name is not repeated: 64 digits of hex are no name. */
const withoutKeys = (message: string): string => message.replace(/(0x)?[0-9a-f]{64,}/gi, '<hex>')

/** The error of a wrong command line. */
export const usage = (message: string): InputError => new InputError('usage', withoutKeys(message))

/** The error of a file that is not what it should be. */
export const unreadable = (message: string): InputError => new InputError('unreadable', withoutKeys(message))
