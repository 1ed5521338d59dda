//! Relations of `pg_catalog` that stand for what there is none of here: policies, triggers, publications, inheritance and so on.
//! Their columns are PostgreSQL's, so that who asks is told "none" and not "no such relation".

use super::{System, catalog};

macro_rules! none {
    ($name:literal, $oid:literal, [$($columns:tt)*]) => { catalog!($name, $oid, |_, _| vec![], [$($columns)*]) };
}

pub const RELATIONS: &[System] = &[
    none!("pg_proc", 1255, [
        oid: Oid, proname: Name, pronamespace: Oid, proowner: Oid, prolang: Oid, procost: Real, prorows: Real, provariadic: Oid,
        prosupport: Text, prokind: Char, prosecdef: Bool, proleakproof: Bool, proisstrict: Bool, proretset: Bool,
        provolatile: Char, proparallel: Char, pronargs: Int2, pronargdefaults: Int2, prorettype: Oid, proargtypes: Oids,
        proallargtypes: Oids, proargmodes: Chars, proargnames: Texts, proargdefaults: Text, protrftypes: Oids, prosrc: Text,
        probin: Text, prosqlbody: Text, proconfig: Texts, proacl: Acls,
    ]),
    none!("pg_shdescription", 2396, [objoid: Oid, classoid: Oid, description: Text]),
    none!("pg_inherits", 2611, [inhrelid: Oid, inhparent: Oid, inhseqno: Int4, inhdetachpending: Bool]),
    none!("pg_enum", 3501, [oid: Oid, enumtypid: Oid, enumsortorder: Real, enumlabel: Name]),
    none!("pg_range", 3541, [
        rngtypid: Oid, rngsubtype: Oid, rngmultitypid: Oid, rngcollation: Oid, rngsubopc: Oid, rngcanonical: Text,
        rngsubdiff: Text,
    ]),
    none!("pg_extension", 3079, [
        oid: Oid, extname: Name, extowner: Oid, extnamespace: Oid, extrelocatable: Bool, extversion: Text, extconfig: Oids,
        extcondition: Texts,
    ]),
    none!("pg_policy", 3256, [
        oid: Oid, polname: Name, polrelid: Oid, polcmd: Char, polpermissive: Bool, polroles: Oids, polqual: Text,
        polwithcheck: Text,
    ]),
    none!("pg_trigger", 2620, [
        oid: Oid, tgrelid: Oid, tgparentid: Oid, tgname: Name, tgfoid: Oid, tgtype: Int2, tgenabled: Char, tgisinternal: Bool,
        tgconstrrelid: Oid, tgconstrindid: Oid, tgconstraint: Oid, tgdeferrable: Bool, tginitdeferred: Bool, tgnargs: Int2,
        tgattr: Int2s, tgargs: Text, tgqual: Text, tgoldtable: Name, tgnewtable: Name,
    ]),
    none!("pg_event_trigger", 3466, [
        oid: Oid, evtname: Name, evtevent: Name, evtowner: Oid, evtfoid: Oid, evtenabled: Char, evttags: Texts,
    ]),
    none!("pg_statistic_ext", 3381, [
        oid: Oid, stxrelid: Oid, stxname: Name, stxnamespace: Oid, stxowner: Oid, stxstattarget: Int4, stxkeys: Int2s,
        stxkind: Chars, stxexprs: Text,
    ]),
    none!("pg_publication", 6104, [
        oid: Oid, pubname: Name, pubowner: Oid, puballtables: Bool, pubinsert: Bool, pubupdate: Bool, pubdelete: Bool,
        pubtruncate: Bool, pubviaroot: Bool,
    ]),
    none!("pg_publication_rel", 6106, [oid: Oid, prpubid: Oid, prrelid: Oid, prqual: Text, prattrs: Int2s]),
    none!("pg_publication_namespace", 6237, [oid: Oid, pnpubid: Oid, pnnspid: Oid]),
    none!("pg_publication_tables", 12021, [
        pubname: Name, schemaname: Name, tablename: Name, attnames: Texts, rowfilter: Text,
    ]),
    none!("pg_subscription", 6100, [
        oid: Oid, subdbid: Oid, subskiplsn: Int8, subname: Name, subowner: Oid, subenabled: Bool, subbinary: Bool,
        substream: Char, subtwophasestate: Char, subdisableonerr: Bool, subconninfo: Text, subslotname: Name,
        subsynccommit: Text, subpublications: Texts,
    ]),
    none!("pg_db_role_setting", 2964, [setdatabase: Oid, setrole: Oid, setconfig: Texts]),
    none!("pg_cast", 2605, [
        oid: Oid, castsource: Oid, casttarget: Oid, castfunc: Oid, castcontext: Char, castmethod: Char,
    ]),
    none!("pg_conversion", 2607, [
        oid: Oid, conname: Name, connamespace: Oid, conowner: Oid, conforencoding: Int4, contoencoding: Int4, conproc: Text,
        condefault: Bool,
    ]),
    none!("pg_operator", 2617, [
        oid: Oid, oprname: Name, oprnamespace: Oid, oprowner: Oid, oprkind: Char, oprcanmerge: Bool, oprcanhash: Bool,
        oprleft: Oid, oprright: Oid, oprresult: Oid, oprcom: Oid, oprnegate: Oid, oprcode: Oid, oprrest: Oid, oprjoin: Oid,
    ]),
    none!("pg_opclass", 2616, [
        oid: Oid, opcmethod: Oid, opcname: Name, opcnamespace: Oid, opcowner: Oid, opcfamily: Oid, opcintype: Oid,
        opcdefault: Bool, opckeytype: Oid,
    ]),
    none!("pg_opfamily", 2753, [oid: Oid, opfmethod: Oid, opfname: Name, opfnamespace: Oid, opfowner: Oid]),
    none!("pg_aggregate", 2600, [aggfnoid: Oid, aggkind: Char, aggnumdirectargs: Int2, aggtransfn: Text]),
    none!("pg_foreign_data_wrapper", 2328, [
        oid: Oid, fdwname: Name, fdwowner: Oid, fdwhandler: Oid, fdwvalidator: Oid, fdwacl: Acls, fdwoptions: Texts,
    ]),
    none!("pg_foreign_server", 1417, [
        oid: Oid, srvname: Name, srvowner: Oid, srvfdw: Oid, srvtype: Text, srvversion: Text, srvacl: Acls, srvoptions: Texts,
    ]),
    none!("pg_foreign_table", 3118, [ftrelid: Oid, ftserver: Oid, ftoptions: Texts]),
    none!("pg_user_mapping", 1418, [oid: Oid, umuser: Oid, umserver: Oid, umoptions: Texts]),
    none!("pg_partitioned_table", 3350, [
        partrelid: Oid, partstrat: Char, partnatts: Int2, partdefid: Oid, partattrs: Int2s, partclass: Oids,
        partcollation: Oids, partexprs: Text,
    ]),
    none!("pg_seclabel", 3596, [objoid: Oid, classoid: Oid, objsubid: Int4, provider: Text, label: Text]),
    none!("pg_ts_config", 3602, [oid: Oid, cfgname: Name, cfgnamespace: Oid, cfgowner: Oid, cfgparser: Oid]),
    none!("pg_largeobject_metadata", 2995, [oid: Oid, lomowner: Oid, lomacl: Acls]),
    none!("pg_rules", 12022, [schemaname: Name, tablename: Name, rulename: Name, definition: Text]),
    none!("pg_locks", 12023, [
        locktype: Text, database: Oid, relation: Oid, page: Int4, tuple: Int2, virtualxid: Text, transactionid: Int8,
        classid: Oid, objid: Oid, objsubid: Int2, virtualtransaction: Text, pid: Int4, mode: Text, granted: Bool,
        fastpath: Bool, waitstart: Time,
    ]),
    none!("pg_prepared_xacts", 12024, [transaction: Int8, gid: Text, prepared: Time, owner: Name, database: Name]),
    none!("pg_available_extensions", 12026, [name: Name, default_version: Text, installed_version: Text, comment: Text]),
    none!("pg_timezone_names", 12027, [name: Text, abbrev: Text, utc_offset: Text, is_dst: Bool]),
];
