//! What a look at a database tells of its tables, in words that fit every database: what a first config file is written from.

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// What the database calls itself, where it has a name.
    pub database: Option<String>,
    /// Tables and views that the login may read, by schema and name.
    pub tables: Vec<Table>,
    /// Whether there were more tables than anyone looks through.
    pub is_cut: bool,
}

/// A table or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The schema it is in; empty where the database has none.
    pub schema: String,
    /// Its name as it is stored.
    pub name: String,
    /// How a statement names it, quoted and with its schema where that is needed.
    pub sql: String,
    /// Whether it stores rows of its own.
    pub kind: TableKind,
    /// What the database says it is for.
    pub comment: Option<String>,
    /// The names of the columns of its primary key, in the key's order; empty where there is none.
    pub key: Vec<String>,
    /// How many rows it has, roughly; `None` where the database does not know.
    pub rows: Option<u64>,
    /// The columns that refer to another table, each by itself.
    pub references: Vec<String>,
    /// How many foreign keys lead to it.
    pub referred: u32,
    /// Its columns in their order; empty until they were asked for.
    pub columns: Vec<TableColumn>,
}

impl Table {
    /// Returns its name with the schema: `public.customers`.
    #[must_use]
    pub fn full_name(&self) -> String {
        if self.schema.is_empty() { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }

    /// Returns the column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// Whether a table stores rows of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// It does, or its partitions do for it.
    Table,
    /// Its rows are those of a query, or of another program.
    View,
}

/// A column of a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name as it is stored.
    pub name: String,
    /// How a statement names it, quoted where that is needed.
    pub sql: String,
    /// Its type in the database's words; empty where it has none.
    pub type_name: String,
    /// Whether it can hold NULL.
    pub nullable: bool,
    /// What the database says it is for.
    pub comment: Option<String>,
    /// What can be done with it.
    pub nature: ColumnNature,
    /// Whether rows can be sorted by it.
    pub sorts: bool,
    /// Roughly how many bytes a value has; `None` where that is not known.
    pub width: Option<u32>,
    /// What to write as `type` of a parameter that is compared with it; `None` where the database infers that.
    pub parameter: Option<&'static str>,
}

/// What can be done with a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnNature {
    /// Text, in which a part can be looked for.
    Text,
    /// One of a few words, in which a part can be looked for once it is cast to text.
    Label,
    /// Bytes, documents and the like: too large for a list of rows.
    Bulky,
    /// Anything else.
    Other,
}
