/** Checks requests against their schema, in a time that does not grow with how much of a body is wrong, and says in words what is. */

import { faultWords } from '@dvt-relayer/common/expected.ts'
import { createFaultFinder, type Fault, UNKNOWN_FAULT } from '@dvt-relayer/common/json/fault.ts'
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import type { FastifySchemaValidationError } from 'fastify/types/schema.js'
import { IsArray, IsObject, IsUnion, type TArray, type TSchema, Type } from 'typebox'
import { Compile } from 'typebox/compile'

/** What fastify takes for an answer; of a fault the error answer reads place and message. */
type Verdict = { value: unknown } | { error: FastifySchemaValidationError[] }

type LibraryFault = Parameters<typeof faultWords>[1] & { instancePath: string }

/** A validator of bodies for fastify. The check ends at the first fault; naming every fault of a million items takes half a minute. */
export function compileBody(schema: TSchema): (body: unknown) => Verdict {
  const [whole, frame] = [compile(schema), compile(frameOf(schema))]
  return (body) => {
    const isChecked = typeof body === 'object' && body !== null && ofCheckedPieces.has(body)
    const { check, find } = isChecked ? frame : whole
    return check.Check(body) ? { value: body } : refuse(find(body))
  }
}

const compile = (schema: TSchema) => ({ check: Compile(schema), find: createFaultFinder(schema) })

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
      const fault = list.find(items[position])
      return { ...fault, instancePath: `/${name}/${from + position}${fault.instancePath}` }
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

const refuse = ({ instancePath, message }: Fault): Verdict => ({
  error: [{ keyword: '', schemaPath: '', params: {}, instancePath, message }],
})
