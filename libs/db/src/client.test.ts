import { describe, expect, it } from 'vitest'
import { hostOf } from './client.ts'

describe('hostOf', () => {
  it('names host, port and database, and nothing of a password', () => {
    expect(hostOf('postgres://u:secret@db.example:5432/relayer?sslmode=require')).toBe('db.example:5432/relayer')
    for (const url of [
      'postgres://relayer:p@ss/w#rd@db.example/relayer',
      'postgres://relayer:123/45@db.example/relayer',
      'postgres://relayer:pa/ss@db.example/relayer',
      'postgres://relayer:123?45@db.example/relayer',
    ])
      expect(hostOf(url)).toBe('unreadable URL')
  })
})
