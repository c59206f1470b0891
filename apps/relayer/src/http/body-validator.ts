/** Checks requests against their schema, in a time that does not grow with how much of a body is wrong, and says in words what is. */

import { faultWords } from '@dvt-relayer/common/expected.ts'
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import type { FastifySchemaValidationError } from 'fastify/types/schema.js'
import { IsArray, IsObject, IsUnion, type TArray, type TObject, type TSchema, Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { Errors } from 'typebox/value'

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

/** The first faults of a value: all at one place, or none. */
type FindFaults = (value: unknown) => Fault[]

/** A validator of bodies for fastify. The check ends at the first fault; naming every fault of a million items takes half a minute. */
export function compileBody(schema: TSchema): (body: unknown) => Verdict {
  const [whole, frame] = [compile(schema), compile(frameOf(schema))]
  return (body) => {
    const isChecked = typeof body === 'object' && body !== null && ofCheckedPieces.has(body)
    const { check, find } = isChecked ? frame : whole
    return check.Check(body) ? { value: body } : refuse(firstOf(find(body)))
  }
}

const compile = (schema: TSchema) => ({ check: Compile(schema), find: finderOf(schema) })

/** Bodies whose lists were checked as they came. */
const ofCheckedPieces = new WeakSet<object>()

export interface PieceCheck {
  /** What is wrong with the first wrong one of some items of a list, the first of which has the position `from`. */
  faultOf(name: string, items: readonly unknown[], from: number): Fault | undefined
  /** Has a body not checked once more, all of whose lists were. */
  checked(body: object): void
}

/**
 * A check of bodies that come in pieces: of the lists that stand in a body itself, piece by piece. Of these bodies the validator looks at
 * what is around those lists alone.
 */
export function compilePieces(schema: TSchema): PieceCheck {
  const lists = new Map(listsIn(schema).map(([name, { items }]) => [name, compile(items)]))
  return {
    faultOf(name, items, from) {
      const list = lists.get(name)
      const position = list === undefined ? -1 : items.findIndex((item) => !list.check.Check(item))
      if (list === undefined || position < 0) return undefined
      return firstOf(below(name, below(from + position, list.find(items[position]))))
    },
    checked: (body) => void ofCheckedPieces.add(body),
  }
}

/** The lists that stand in a body itself, by the name of their field. */
const listsIn = (schema: TSchema): [name: string, list: TArray][] =>
  fieldsOf(schema).flatMap(([name, field]) => {
    const list = (IsUnion(field) ? field.anyOf : [field]).find(IsArray)
    return list === undefined ? [] : [[name, list]]
  })

const fieldsOf = (schema: TSchema): [name: string, field: TSchema][] =>
  IsObject(schema) ? Object.entries(schema.properties) : []

/** The schema of a body, without what is in the lists that stand in it. */
function frameOf(schema: TSchema): TSchema {
  const bare = (field: TSchema): TSchema => (IsArray(field) ? { ...field, items: Type.Unknown() } : field)
  const frames = fieldsOf(schema).map(([name, field]) => [
    name,
    IsUnion(field) ? { ...field, anyOf: field.anyOf.map(bare) } : bare(field),
  ])
  return frames.length === 0 ? schema : { ...schema, properties: Object.fromEntries(frames) }
}

/** Of the first faults of a value, in words: where a few words are right they are faults one by one, and none of them says which words. */
function firstOf(faults: readonly Fault[]): Fault {
  const [first = UNKNOWN_FAULT] = faults
  const words = faults.flatMap((fault) => (fault.instancePath === first.instancePath ? (fault.word ?? []) : []))
  return words.length > 0 ? { ...first, message: `must be ${words.join(' or ')}` } : first
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
    const found: unknown[] = Array.isArray(value) ? value : []
    const position = found.findIndex((some) => !item.Check(some))
    return position < 0 ? faultsOf(list, value) : below(position, findInItem(found[position]))
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

/** A check says that there is one; the tests hold that it is found. */
const UNKNOWN_FAULT: Fault = { instancePath: '', message: 'is not valid', word: undefined }

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
    return refuse(first === undefined ? UNKNOWN_FAULT : { ...first, message: faultWords(schema, first) })
  }
}

const refuse = ({ instancePath, message }: Pick<Fault, 'instancePath' | 'message'>): Verdict => ({
  error: [{ keyword: '', schemaPath: '', params: {}, instancePath, message }],
})
