/** Checks requests against their schema, in a time that does not grow with how much of a body is wrong, and says in words what is. */

import { faultWords } from '@dvt-relayer/common/expected.ts'
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import type { FastifySchemaValidationError } from 'fastify/types/schema.js'
import { IsArray, IsObject, IsUnion, type TArray, type TObject, type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { Errors } from 'typebox/value'

/** Items of a list among which the first wrong one is looked for. */
const LOOKED_AT = 1000

/** What fastify takes for an answer; of a fault the error answer reads place and message. */
type Verdict = { value: unknown } | { error: FastifySchemaValidationError[] }

type LibraryFault = ReturnType<typeof Errors>[number]

interface Fault {
  instancePath: string
  /** What is wrong. */
  message: string
  /** The word that would be right here, where only a few are. */
  word: string | undefined
}

/** The first faults of a value: all at one place, or none where there are none among the first items of its lists. */
type FindFaults = (value: unknown) => Fault[]

/** A validator of bodies for fastify. The check ends at the first fault; naming every fault of a million items takes half a minute. */
export function compileBody(schema: TSchema): (body: unknown) => Verdict {
  const validator = Compile(schema)
  const findFaults = finderOf(schema)
  return (body) => {
    if (validator.Check(body)) return { value: body }
    const faults = findFaults(body)
    const [first] = faults
    if (first === undefined) return refuse('', `has a wrong item after the first ${LOOKED_AT} of a list`)
    const { instancePath, message } = first
    // Where a few words are right, they are faults one by one, and none of them says which words.
    const words = faults.flatMap((fault) => (fault.instancePath === instancePath ? (fault.word ?? []) : []))
    return refuse(instancePath, words.length > 0 ? `must be ${words.join(' or ')}` : message)
  }
}

/**
 * What finds the first faults. The library looks at everything again, slowly, until it has found eight, and looks for eight more in every
 * list that may be null; here nothing behind the first fault is looked at, and the compiled check tells which item of a list has it.
 */
function finderOf(schema: TSchema): FindFaults {
  if (IsArray(schema)) return finderInList(schema)
  if (IsObject(schema)) return finderInObject(schema)
  if (!IsUnion(schema)) return (value) => faultsOf(schema, value)
  const finders = schema.anyOf.map(finderOf)
  return (value) => {
    const faults = finders.map((find) => find(value))
    return faults.every(({ length }) => length > 0) ? faults.flat() : []
  }
}

function finderInList({ items, ...list }: TArray): FindFaults {
  const item = Compile(items)
  const findInItem = finderOf(items)
  return (value) => {
    const looked: unknown[] = Array.isArray(value) ? value.slice(0, LOOKED_AT) : []
    const position = looked.findIndex((some) => !item.Check(some))
    return position < 0 ? faultsOf(list, value) : below(position, findInItem(looked[position]))
  }
}

function finderInObject({ properties, ...object }: TObject): FindFaults {
  const finders = Object.entries(properties).map(([name, property]) => [name, finderOf(property)] as const)
  return (value) => {
    const own = faultsOf(object, value)
    if (own.length > 0) return own
    const fields = value as Readonly<Record<string, unknown>>
    for (const [name, find] of finders) {
      const faults = Object.hasOwn(fields, name) ? find(fields[name]) : []
      if (faults.length > 0) return below(name, faults)
    }
    return []
  }
}

/** The faults of a value without what is in it. */
const faultsOf = (schema: TSchema, value: unknown): Fault[] =>
  Errors(schema, value).map((fault) => ({
    instancePath: fault.instancePath,
    message: faultWords(schema, fault),
    word: fault.keyword === 'const' ? String(fault.params.allowedValue) : undefined,
  }))

const below = (name: string | number, faults: readonly Fault[]): Fault[] =>
  faults.map((fault) => ({ ...fault, instancePath: `/${name}${fault.instancePath}` }))

/** A validator of the parts of a path, or of a query, for fastify. */
export function compilePart(route: Parameters<typeof TypeBoxValidatorCompiler>[0]): (part: unknown) => Verdict {
  const schema = route.schema as TSchema
  const validate = TypeBoxValidatorCompiler(route) as (part: unknown) => { value: unknown } | { error: LibraryFault[] }
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
