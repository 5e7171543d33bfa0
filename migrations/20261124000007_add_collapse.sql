-- Why: a newer notification of a conversation ends the older ones that wait, without reading their contents. The first 63 bits
-- of a digest of what is replaced; NULL: it replaces nothing, and is not replaced.
ALTER TABLE deliveries ADD COLUMN collapse bigint;
