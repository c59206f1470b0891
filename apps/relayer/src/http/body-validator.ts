/** Checks requests against their schema, in a time that does not grow with how much of a body is wrong, and says in words what is. */

import { faultWords } from '@dvt-relayer/common/expected.ts'
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import type { FastifySchemaValidationError } from 'fastify/types/schema.js'
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'

/** Items of a list among which the first wrong one is looked for. */
const LOOKED_AT = 1000

/** What fastify takes for an answer; of a fault the error answer reads place and message. */
type Verdict = { value: unknown } | { error: FastifySchemaValidationError[] }

type Fault = ReturnType<ReturnType<typeof Compile>['Errors']>[number]

/** A validator of bodies for fastify. The check ends at the first fault; naming every fault of a million items takes half a minute. */
export function compileBody(schema: TSchema): (body: unknown) => Verdict {
  const validator = Compile(schema)
  return (body) => {
    if (validator.Check(body)) return { value: body }
    const faults = validator.Errors(shortened(body))
    const [first] = faults
    if (first === undefined) return refuse('', `has a wrong item after the first ${LOOKED_AT} of a list`)
    const { instancePath } = first
    // Where a few words are right, they are faults one by one, and none of them says which words.
    const words = faults.flatMap((fault) =>
      fault.keyword === 'const' && fault.instancePath === instancePath ? [String(fault.params.allowedValue)] : [],
    )
    if (words.length > 0) return refuse(instancePath, `must be ${words.join(' or ')}`)
    return refuse(instancePath, faultWords(schema, first))
  }
}

/** A validator of the parts of a path, or of a query, for fastify. */
export function compilePart(route: Parameters<typeof TypeBoxValidatorCompiler>[0]): (part: unknown) => Verdict {
  const schema = route.schema as TSchema
  const validate = TypeBoxValidatorCompiler(route) as (part: unknown) => { value: unknown } | { error: Fault[] }
  return (part) => {
    const verdict = validate(part)
    if (!('error' in verdict)) return verdict
    const [first] = verdict.error
    return refuse(first?.instancePath ?? '', first === undefined ? 'is not valid' : faultWords(schema, first))
  }
}

const refuse = (instancePath: string, message: string): Verdict => ({
  error: [{ keyword: '', schemaPath: '', params: {}, instancePath, message }],
})

/** The body with its lists cut: enough to name a fault. */
function shortened(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body
  return Object.fromEntries(
    Object.entries(body).map(([name, value]) => [name, Array.isArray(value) ? value.slice(0, LOOKED_AT) : value]),
  )
}
