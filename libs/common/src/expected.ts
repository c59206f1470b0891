/**
 * What is wrong with a value that does not fit its schema, in words. A pattern is for programs: beside it a schema says what is expected, and
 * whoever is told of a fault reads that.
 */

import { type TSchema, Type } from 'typebox'

/** Where a schema says it; OpenAPI lets extensions begin with `x-`. */
const EXPECTED = 'x-expected'

/** Text of a form. `expected` is read after "must be". */
export const textLike = (pattern: string, expected: string, description?: string) =>
  Type.String({ pattern, [EXPECTED]: expected, ...(description === undefined ? {} : { description }) })

/** A fault as the library finds it. */
interface Fault {
  readonly keyword: string
  readonly schemaPath: string
  readonly message: string
  readonly params?: object
}

/** What is wrong, without where. */
export function faultWords(schema: TSchema, { keyword, schemaPath, message, params }: Fault): string {
  const { allowedValues } = (params ?? {}) as { allowedValues?: readonly unknown[] }
  if (keyword === 'enum' && allowedValues !== undefined) return `must be ${allowedValues.join(' or ')}`
  if (keyword !== 'pattern') return message
  const expected = findExpected(schema, schemaPath)
  return expected === undefined ? message : `must be ${expected}`
}

/** The library names the schema of a fault by its path, `#/properties/vault`; names with a slash are none of ours. */
function findExpected(schema: TSchema, schemaPath: string): string | undefined {
  let found: unknown = schema
  for (const name of schemaPath.split('/').slice(1)) {
    if (typeof found !== 'object' || found === null) return undefined
    found = (found as Readonly<Record<string, unknown>>)[name]
  }
  const expected = (found as Readonly<Record<string, unknown>> | undefined)?.[EXPECTED]
  return typeof expected === 'string' ? expected : undefined
}
